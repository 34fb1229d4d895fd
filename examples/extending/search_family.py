"""Add a family of searches: a query is compared with the nearest groups of rows."""

import re
from typing import Any, NamedTuple

import numpy as np

from latentsk import LatentIndex
from latentsk.index._cost import exact_cost
from latentsk.index._exact import ExactSearch, Query
from latentsk.index._families import FAMILIES
from latentsk.index._tuning import Fixed
from latentsk.persistence._registry import storable
from latentsk.persistence._schema import floats, require, text


def numbers_in(spec):
    """Return the numbers of groups, and of those that a query visits."""
    match = re.fullmatch(r"Groups(\d+),nprobe=(\d+)", spec)
    if match is None or not 1 <= int(match[2]) <= int(match[1]):
        raise ValueError(f"index_spec must be like 'Groups64,nprobe=4', got {spec!r}.")
    return int(match[1]), int(match[2])


class GroupSearch:
    """Compare a query with the rows of a few groups, by the exact search `flat`."""

    def __init__(self, flat, spec, centers, members):
        self.flat, self.exact, self.spec = flat, flat.exact, spec
        self.centers = ExactSearch(centers, flat.exact.space.metric)
        self.groups = [np.empty(0, dtype=np.intp)] * len(centers)
        self._put(members)

    def neighbors(self, query):
        visits, found = Query(query.vectors, numbers_in(self.spec)[1]), []
        is_eligible = np.zeros(self.exact.n_rows, dtype=bool)
        is_eligible[slice(None) if query.eligible is None else query.eligible] = True
        for i, groups in enumerate(self.centers.neighbors(visits)[1]):
            rows = np.sort(np.concatenate([self.groups[group] for group in groups]))
            rows = rows[is_eligible[rows]]
            is_enough = len(rows) >= query.k + (query.exclude is not None)
            rows = rows if is_enough else query.eligible
            found.append(self.flat.neighbors(query.some([i])._replace(eligible=rows)))
        return tuple(np.concatenate(parts) for parts in zip(*found, strict=True))

    def add(self, vectors, positions):
        self.flat.add(vectors, positions)
        self._put(positions)

    def remove(self, positions):
        self.groups = [np.setdiff1d(group, positions) for group in self.groups]

    def cost(self, n_neighbors, n_rows):
        n_groups, n_probe = numbers_in(self.spec)
        return self.centers.cost(1, n_groups + n_probe * n_rows / n_groups)

    def n_bytes(self, n_rows):
        return 8 * n_rows

    def to_state(self):
        return GroupState(self.spec, self.centers.space.vectors)

    def _put(self, positions):
        rows = Query(self.exact.space.vectors[positions], 1)
        nearest = self.centers.neighbors(rows)[1][:, 0]
        for i, group in enumerate(self.groups):
            self.groups[i] = np.append(group, positions[nearest == i])


@storable({"spec": text(), "centers": floats("groups", "width")})
class GroupState(NamedTuple):
    """What a file holds; rows find their groups again."""

    spec: str
    centers: Any
    n_drifted = 0  # wherever a row lies, it is in a group

    def restore(self, flat_over, members, embed):
        return GroupSearch(flat_over(None), self.spec, self.centers, members)

    def check_fits(self, shape, metric, embedded):
        expected = numbers_in(self.spec)[0], shape[1]
        require(self.centers.shape == expected, "its centres have another shape")


class GroupFamily:
    """Groups around rows that are drawn; more and more of them are visited."""

    def min_rows(self, spec):
        return numbers_in(spec)[0]

    def build(self, flat, spec, training):
        others = np.setdiff1d(training.members, training.held_out)
        rng = np.random.default_rng(training.seed)
        chosen = rng.choice(others, numbers_in(spec)[0], replace=False)
        centers = flat.exact.space.vectors[chosen]
        return GroupSearch(flat, spec, centers, training.members)

    def build_cost(self, n_rows, width):
        return n_rows * exact_cost(n_rows**0.5, width)

    def variants(self, task, best):
        n_groups = round(len(task.training.members) ** 0.5)
        for spec in (f"Groups{n_groups},nprobe={n}" for n in (1, 2, 4, 8, 16)):
            if best() is task.flat:
                yield Fixed(self.build(task.flat, spec, task.training), task)


FAMILIES["Groups"] = GroupFamily()


def main():
    """Search with it, and measure the recall."""
    X = np.random.default_rng(0).normal(size=(4_000, 8))
    index = LatentIndex(index_spec="Groups64,nprobe=16").fit(X)
    print(f"{index.index_spec_}: {index.measure_recall()['recall'][10]:.2f} recall")


if __name__ == "__main__":
    main()
