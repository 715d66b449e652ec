"""The tables of variables and outputs in the README of a Terraform module, made of its variables and outputs.

    terraform_readme.py MODULE…            fails if the tables of a README are not these; says how they differ
    terraform_readme.py --write MODULE…    writes them
    terraform_readme.py --hcl MODULE…      prints the HCL that the READMEs show
    terraform_readme.py --yaml MODULE…     prints the configuration of the bridge that a README shows

Run it with the Python of `tests/servers/tools.sh python hcl`.
"""

import difflib
import pathlib
import re
import sys

import hcl2

BEGIN = "<!-- Made by tests/terraform/modules.sh --write from the module's variables and outputs. -->"
END = "<!-- The end of what is made. -->"


def plain(text):
    """A text of HCL without its quotes, a heredoc in one line."""
    text = str(text)
    heredoc = re.fullmatch(r'"?<<-?(\w+)\n(.*)\n\s*\1"?', text, re.DOTALL)
    if heredoc:
        return " ".join(heredoc.group(2).split())
    return text.removeprefix('"').removesuffix('"').replace('\\"', '"')


def type_of(variable):
    """The type as it is written."""
    return variable["type"].removeprefix("${").removesuffix("}")


def written(value):
    """A default as HCL writes it, in one line."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        inner = ", ".join(f"{plain(key)} = {written(member)}" for key, member in value.items())
        return f"{{ {inner} }}" if inner else "{}"
    if isinstance(value, list):
        return f"[{', '.join(written(member) for member in value)}]"
    return str(value)


def default_of(variable):
    return f"`{written(variable['default'])}`" if "default" in variable else "**required**"


def blocks(module, kind):
    """Name and content of each block of a kind, in the order of the files and within them."""
    for path in sorted(module.glob(f"{kind}s*.tf")):
        with path.open(encoding="utf-8") as file:
            for block in hcl2.load(file).get(kind, []):
                for name, content in block.items():
                    if isinstance(content, dict):
                        yield plain(name), content


def cell(text):
    return text.replace("|", "\\|")


def tables(module):
    lines = ["| Variable | Type | Default | Meaning |", "|---|---|---|---|"]
    for name, variable in blocks(module, "variable"):
        row = [f"`{name}`", f"`{type_of(variable)}`", default_of(variable), plain(variable["description"])]
        lines.append(f"| {' | '.join(cell(text) for text in row)} |")
    lines += ["", "| Output | Meaning |", "|---|---|"]
    for name, output in blocks(module, "output"):
        lines.append(f"| `{name}` | {cell(plain(output['description']))} |")
    return "\n".join(lines)


def with_tables(module, text):
    head, begun, rest = text.partition(BEGIN)
    _, ended, tail = rest.partition(END)
    if not begun or not ended:
        sys.exit(f"{module}/README.md: the lines are missing between which the tables stand:\n{BEGIN}\n{END}")
    return f"{head}{BEGIN}\n\n{tables(module)}\n\n{END}{tail}"


def difference(module, text, wanted):
    lines = difflib.unified_diff(
        text.splitlines(), wanted.splitlines(), f"{module.name}/README.md", "what is made", lineterm="", n=0
    )
    return "\n".join(lines)


def main():
    mode = sys.argv[1] if sys.argv[1:2] and sys.argv[1].startswith("--") else "--check"
    modules = [pathlib.Path(argument) for argument in sys.argv[1:] if not argument.startswith("--")]
    if not modules or mode not in ("--check", "--write", "--hcl", "--yaml"):
        sys.exit(__doc__)
    differences = []
    for module in modules:
        readme = module / "README.md"
        text = readme.read_text(encoding="utf-8")
        if mode in ("--hcl", "--yaml"):
            shown = rf"^```{mode.removeprefix('--')}\n(.*?)^```"
            print("\n".join(re.findall(shown, text, re.DOTALL | re.MULTILINE)))
            continue
        wanted = with_tables(module, text)
        if mode == "--write":
            readme.write_text(wanted, encoding="utf-8")
        elif text != wanted:
            differences.append(difference(module, text, wanted))
    if differences:
        sys.exit("\n".join(differences) + "\nRun `tests/terraform/modules.sh --write`.")


main()
