"""A fitted GenerativeClassifier as a module of torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from latentsk._validation import LIMITS
from latentsk.classify import GenerativeClassifier
from latentsk.classify._bayes import LARGEST
from latentsk.classify._conformity import LARGEST_DEVIATION, SLOPE
from latentsk.export._decisions import SAME_SCORE
from latentsk.export._modules import constant


class ClassifierOutputs(nn.Module):
    """The outputs of a classifier.

    Parameters
    ----------
    prepare : nn.Module
        The steps before it.

    densities : sequence of nn.Module
        The score of rows in each class.

    classifier : GenerativeClassifier
    """

    meanings = {
        "class_score_samples": "log-density of each row in each class",
        "score_samples": "log-density of each row, whatever its class",
        "predict_proba": "probability of each class",
        "predict": "the most probable class, or unknown_label",
        "novelty_score": "how little a row resembles any class",
        "p_values": "how often a row of each class conforms to it as badly",
    }

    def __init__(
        self,
        prepare: nn.Module,
        densities: Sequence[nn.Module],
        classifier: GenerativeClassifier,
    ) -> None:
        super().__init__()
        self.prepare, self.densities = prepare, nn.ModuleList(densities)
        self.n_classes = len(densities)
        self.register_buffer("lowest", constant(-LARGEST))
        for dtype, limit in LIMITS.items():
            self.register_buffer(f"limit_{dtype}", constant(limit))
        with np.errstate(divide="ignore"):
            prior = np.maximum(np.log(classifier.class_prior_), -LARGEST)
        self.register_buffer("log_prior", constant(prior))
        self.register_buffer("is_possible", torch.tensor(classifier.class_prior_ > 0))
        for name, values in classifier._typical._asdict().items():
            self.register_buffer(name, constant(values))
        self.register_buffer("slope", constant(SLOPE))
        self.register_buffer("most", constant(LARGEST_DEVIATION))
        self.register_buffer("positions", torch.arange(self.n_classes))
        calibration = getattr(classifier, "calibration_scores_", None)
        self.is_calibrated = calibration is not None
        for k, scores in enumerate(calibration or ()):
            self.register_buffer(f"calibration_{k}", constant(_lowered(scores)))
            self.register_buffer(f"part_{k}", constant(1.0 / (len(scores) + 1)))
        self.labels = _Labels(classifier)
        self.methods: tuple[str, ...] = (
            *("class_score_samples", "score_samples", "predict_proba", "predict"),
            *("novelty_score", *(("p_values",) * self.is_calibrated)),
        )

    def forward(self, rows: Any) -> dict[str, Tensor]:
        """Return the results of the methods."""
        rows = self.prepare(rows)
        scores = torch.stack([d(rows).double() for d in self.densities], dim=1)
        lowest = self.get_buffer("lowest")
        # Also false for NaN, and for what is infinite: too large to be scored.
        is_scored = (scores > lowest) & self._is_small(rows)[:, None]
        densities = torch.where(is_scored, scores, lowest)
        log_probabilities, evidence = self._by_bayes(densities)
        conformity = self._conformity(densities)
        found = {
            "class_score_samples": densities,
            "score_samples": evidence,
            "predict_proba": log_probabilities.exp(),
            "novelty_score": -conformity.amax(dim=1),
        }
        counts: list[Tensor] = []
        if self.is_calibrated:
            counts = [self._n_as_low(conformity, k) for k in range(self.n_classes)]
            parts = [
                (count + 1.0) * self.get_buffer(f"part_{k}")
                for k, count in enumerate(counts)
            ]
            found["p_values"] = torch.stack(parts, dim=1)
        found["predict"] = self.labels(log_probabilities, counts)
        return found

    def _is_small(self, rows: Tensor) -> Tensor:
        dtype = "float32" if rows.dtype == torch.float32 else "float64"
        limit = self.get_buffer(f"limit_{dtype}").to(rows.dtype)
        return (rows.abs() <= limit).all(dim=1)

    def _by_bayes(self, densities: Tensor) -> tuple[Tensor, Tensor]:
        """Return log-probabilities of classes, and log-densities of rows."""
        is_possible, lowest = self.get_buffer("is_possible"), self.get_buffer("lowest")
        possible = torch.where(is_possible, densities, lowest)
        highest = possible.amax(dim=1, keepdim=True)
        joint = possible - highest + self.get_buffer("log_prior")
        joint = torch.where(joint > lowest, joint, lowest)
        joint = torch.where(is_possible, joint, lowest)
        top = joint.amax(dim=1, keepdim=True)
        total = top + (joint - top).exp().sum(dim=1, keepdim=True).log()
        evidence = (highest + total)[:, 0]
        return joint - total, torch.where(evidence > lowest, evidence, lowest)

    def _conformity(self, densities: Tensor) -> Tensor:
        part = self._shortfall(densities, "log_density")
        if self.n_classes == 1:
            return part
        two, places = densities.topk(2, dim=1)
        is_best = places[:, :1] == self.get_buffer("positions")
        ratios = densities - torch.where(is_best, two[:, 1:], two[:, :1])
        return part + self._shortfall(ratios, "log_ratio")

    def _shortfall(self, values: Tensor, name: str) -> Tensor:
        most = self.get_buffer("most")
        deviations = values - self.get_buffer(name)
        deviations = deviations / self.get_buffer(f"{name}_spread")
        deviations = torch.where(deviations < most, deviations, most)
        deviations = torch.where(deviations > -most, deviations, -most)
        exponent = -self.get_buffer("slope") * deviations
        positive = torch.where(exponent > 0, exponent, torch.zeros_like(exponent))
        return -(positive + (1.0 + (-exponent.abs()).exp()).log())

    def _n_as_low(self, conformity: Tensor, k: int) -> Tensor:
        calibration = self.get_buffer(f"calibration_{k}")
        as_low = calibration <= conformity[:, k : k + 1]
        return as_low.double().sum(dim=1)


def _lowered(scores: Any) -> Any:
    """Return calibration scores that rows reach in spite of rounding."""
    if len(scores) == 0:
        return scores
    sizes = np.abs(scores)
    return scores - SAME_SCORE * np.maximum(sizes, np.median(sizes))


class _Labels(nn.Module):
    """The answer: a label, or its position where labels are strings."""

    def __init__(self, classifier: GenerativeClassifier) -> None:
        super().__init__()
        labels = answers_of(classifier)
        self.names = labels if isinstance(labels[0], str) else None
        self.rejects = classifier.reject is not None
        if self.names is None:
            self.register_buffer("values", torch.tensor(labels))
        if self.rejects:
            ranks = classifier._ranks(float(classifier.reject), None, warns=False)  # type: ignore[arg-type]
            self.register_buffer("ranks", constant(ranks))
            self.register_buffer("is_judged", torch.tensor(ranks > 0))
            self.register_buffer("none", torch.tensor(len(ranks)))

    def forward(self, log_probabilities: Tensor, counts: list[Tensor]) -> Tensor:
        """Return the label of each row, or its position."""
        chosen = log_probabilities.argmax(dim=1)
        if self.rejects:
            is_judged = self.get_buffer("is_judged")
            fails = torch.stack(counts, dim=1) < self.get_buffer("ranks")
            is_unknown = (fails | ~is_judged).all(dim=1)
            is_unknown = is_unknown & is_judged.index_select(0, chosen)
            chosen = torch.where(is_unknown, self.get_buffer("none"), chosen)
        if self.names is not None:
            return chosen
        return self.get_buffer("values").index_select(0, chosen)


def answers_of(classifier: GenerativeClassifier) -> list[Any]:
    """Return all answers: the classes, and the unknown label where there is one."""
    unknown = [] if classifier.reject is None else [classifier.unknown_label]
    return [*classifier.classes_.tolist(), *unknown]


def put_names_behind(model: Any, names: Sequence[str]) -> None:
    """Turn the output "predict" from positions into strings.

    Parameters
    ----------
    model : onnx.ModelProto
        Is changed.

    names : sequence of str
    """
    import onnx

    graph, inner = model.graph, "predict/position"
    for node in graph.node:
        for names_of in (node.input, node.output):
            for i, name in enumerate(names_of):
                if name == "predict":
                    names_of[i] = inner
    values: Any = [name.encode() for name in names]
    kind = onnx.TensorProto.STRING
    labels = onnx.helper.make_tensor("predict/labels", kind, [len(values)], values)
    graph.initializer.append(labels)
    graph.node.append(
        onnx.helper.make_node("Gather", [labels.name, inner], ["predict"], axis=0)
    )
    for value in graph.output:
        if value.name == "predict":
            value.type.tensor_type.elem_type = kind
