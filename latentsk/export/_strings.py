"""The front of a file: strings become codes before they enter the graph of torch."""

from __future__ import annotations

from typing import Any

from latentsk.embedders._onnx_file import graphs_of
from latentsk.export._sources import DATE, NUMBER, TEXT, UNKNOWN, Inputs

# What LabelEncoder is a node of, in a version that onnxruntime has known since 2019.
ML_DOMAIN, ML_OPSET = "ai.onnx.ml", 2
# What names inside the file begin with; no column of a table is called so.
_INSIDE = "latentsk::"


def internal_name(position: int) -> str:
    """Return the name of an input of torch's graph."""
    return f"{_INSIDE}input_{position}"


def put_columns_in_front(model: Any, inputs: Inputs) -> None:
    """Give a model an input for each column, in place of those of torch's graph.

    Parameters
    ----------
    model : onnx.ModelProto
        Is changed. Its inputs are called by `internal_name`.

    inputs : Inputs
    """
    import onnx

    graph = model.graph
    _rename_inside(graph)
    given = {value.name: value for value in graph.input}
    del graph.input[:]
    encoders, added = [], set()
    ordered = sorted(enumerate(inputs.entries), key=lambda entry: entry[1].column)
    for position, entry in ordered:
        name, internal = inputs.names[entry.column], internal_name(position)
        if entry.kind == TEXT:
            encoders.append(_label_encoder(name, internal, entry.codes))
        else:
            encoders.append(onnx.helper.make_node("Identity", [name], [internal]))
        if name not in added:
            value = given[internal]
            value.name = name
            if entry.kind == TEXT:
                value.type.tensor_type.elem_type = onnx.TensorProto.STRING
            graph.input.append(value)
            added.add(name)
    nodes = [*encoders, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    if any(entry.kind == TEXT for entry in inputs.entries):
        model.opset_import.append(onnx.helper.make_opsetid(ML_DOMAIN, ML_OPSET))


def _label_encoder(name: str, output: str, codes: dict[str, int]) -> Any:
    import onnx

    return onnx.helper.make_node(
        "LabelEncoder",
        [name],
        [output],
        domain=ML_DOMAIN,
        keys_strings=list(codes),
        values_int64s=list(codes.values()),
        default_int64=UNKNOWN,
    )


def _rename_inside(graph: Any) -> None:
    """Rename what is neither input nor output, so that no column has its name."""
    kept = {value.name for value in (*graph.input, *graph.output)} | {""}

    def renamed(name: str) -> str:
        return name if name in kept else _INSIDE + name

    for part in graphs_of(graph):
        for node in part.node:
            node.input[:] = [renamed(name) for name in node.input]
            node.output[:] = [renamed(name) for name in node.output]
        for value in (*part.initializer, *part.input, *part.output):
            value.name = renamed(value.name)


def check_names(inputs: Inputs, outputs: Any) -> None:
    """Refuse columns that cannot be inputs under their names.

    Raises
    ------
    ValueError
    """
    for entry in inputs.entries:
        name = inputs.names[entry.column]
        if name in outputs:
            raise ValueError(
                f"Column {name!r} has the name of an output of the file. Rename it "
                f"before the fit: X.rename(columns={{{name!r}: {name + '_'!r}}})."
            )
        if not name:
            raise ValueError(
                "A column without a name cannot be an input of the file. Give it one "
                "before the fit: X.rename(columns={'': 'name'})."
            )


def kinds_of(inputs: Inputs) -> dict[str, str]:
    """Return what each column that is an input holds, in words."""
    words = {
        NUMBER: f"{inputs.dtype}, NaN if missing",
        TEXT: "string, empty if missing",
        DATE: "int64, nanoseconds since 1970-01-01 on the clock of the column; "
        "-9223372036854775808 if missing",
    }
    ordered = sorted(inputs.entries, key=lambda entry: entry.column)
    return {inputs.names[entry.column]: words[entry.kind] for entry in ordered}
