"""Write the texts of shared parameters into the docstrings of the neural embedders.

    python docs/shared_parameters.py [--check]

Each text stands once, in ``shared_parameters.txt``; `help` and the source show it in
every class that has the parameter. With ``--check``, files that differ are named.
"""

import re
import sys
from pathlib import Path

HERE = Path(__file__).parent
TEXTS = HERE / "shared_parameters.txt"
PACKAGE = HERE.parent / "latentsk"
FILES = ("_autoencoder.py", "_vae.py", "_hierarchical_vae.py", "_vq_vae.py")
CLASSES = [PACKAGE / "embedders" / name for name in FILES]
# Codes are no latent dimensions as others are, levels are several; neither takes custom
# modules.
WORDED_BY_ITSELF = {
    "_hierarchical_vae.py": {
        "n_components",
        "network",
        "input_shape",
        "learning_rate_init",
        "n_components_",
    },
    "_vq_vae.py": {"network", "dropout", "input_shape", "module_", "n_components_"},
}
# A line with a name and a type, which a backslash may continue, and indented lines.
ENTRY = r"{indent}(?P<names>[\w, ]+?) : .*\n(?:(?<=\\\n).*\n)?(?:{indent}    .*\n)+"


def entries(text):
    """Return the texts by the names of the parameters."""
    found = re.finditer(ENTRY.format(indent=""), text, flags=re.MULTILINE)
    return {entry["names"]: entry[0] for entry in found}


def texts_for(path, texts):
    """Return the texts that a file takes as they are."""
    own = WORDED_BY_ITSELF.get(path.name, set())
    return {name: text for name, text in texts.items() if name not in own}


def indented(text):
    """Return a text as a docstring of a class holds it; continued lines stay."""
    lines = text.splitlines(keepends=True)
    follows = [False, *(line.endswith("\\\n") for line in lines[:-1])]
    pairs = zip(lines, follows, strict=True)
    return "".join(line if continued else f"    {line}" for line, continued in pairs)


def rewritten(source, texts):
    """Return a source whose docstrings have the shared texts."""

    def replace(entry):
        text = texts.get(entry["names"])
        return entry[0] if text is None else indented(text)

    start = re.search(r"^class \w+Embedder\(", source, flags=re.MULTILINE).end()
    docstring, quotes, rest = source[start:].partition('\n    """\n')
    pattern = "^" + ENTRY.format(indent="    ")
    docstring = re.sub(pattern, replace, docstring, flags=re.MULTILINE)
    return source[:start] + docstring + quotes + rest


def main():
    """Rewrite or check the files; return the exit status."""
    texts = entries(TEXTS.read_text(encoding="utf-8"))
    stale = []
    for path in CLASSES:
        source = path.read_text(encoding="utf-8")
        wanted = rewritten(source, texts_for(path, texts))
        if wanted != source:
            stale.append(path.name)
            if "--check" not in sys.argv[1:]:
                path.write_text(wanted, encoding="utf-8")
    if stale:
        print("shared parameters differ in", *stale)
    return int(bool(stale) and "--check" in sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
