"""Rule files: a YAML list of rules, each a text as for `-e` or a mapping with the same keys. For `--rules FILE`.

    - write:error=ENOSPC:path=*/tasks.json:when=3
    - operations: [read, write]
      delay: 200ms+-50ms
      path: ["*.json", "data/*"]
    - {operations: clock, freeze: true, at: 5s, for: 2s}

The texts of a mapping need no quoting of `:` and `,`. What is wrong is reported with file and line. Only this module
needs yaml; it is imported when a file is read.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from faultlib.errors import RuleError, UsageError
from faultlib.inject import check, grammar, rules, values
from faultlib.inject.rules import Rule

if TYPE_CHECKING:
    from yaml.nodes import MappingNode, Node, ScalarNode

OPERATIONS = "operations"
MOST_BYTES = 256 << 10
Field = tuple[str, int]
"""A piece of a rule's text and the line of the file that it comes from."""


def read_rules(path: Path) -> list[Rule]:
    """Returns the rules of a file, checked together. Raises UsageError for the file, RuleError for a rule in it."""
    try:
        with path.open("rb") as stream:
            data = stream.read(MOST_BYTES + 1)
        if len(data) > MOST_BYTES:
            raise UsageError(f"{path}: a rule file has at most {MOST_BYTES >> 10} KiB")
        text = data.decode()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "is not text"
        raise UsageError(f"{path}: {reason}") from None
    return parse_rules(text, str(path))


def parse_rules(text: str, origin: str = "rules.yaml") -> list[Rule]:
    """Returns the rules of a file's text; `origin` names the file in errors. Raises UsageError and RuleError."""
    import yaml

    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)  # nodes only: nothing is constructed, nor any alias unfolded
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        hint = ": YAML wants blanks there" if "'\\t'" in (error.problem or "") else ""
        raise UsageError(f"{origin}:{line}: {error.problem or error.context}{hint}") from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise UsageError(f"{origin}:{line}: {error.reason}: {chr(error.character)!r}") from None
    except yaml.YAMLError as error:
        raise UsageError(f"{origin}: {error}") from None
    except RecursionError:
        raise UsageError(f"{origin}: is nested too deeply for a list of rules") from None
    if root is None:
        return []
    if not isinstance(root, yaml.SequenceNode):
        raise UsageError(f"{_place(origin, root)}: a rule file is a list: begin every rule with '- '")
    found: list[Rule] = []
    for node in root.value:
        fields = _fields(node, origin)
        try:
            found.append(grammar.parse_rule(":".join(text for text, _ in fields)))
        except RuleError as error:
            raise error.at(f"{origin}:{_line_at(fields, error.position)}") from None
    try:
        check.check_rules(found)
    except RuleError as error:
        place = next(i for i, rule in enumerate(found) if rule.source is error.text)
        raise error.at(f"{origin}:{_line_at(_fields(root.value[place], origin), error.position)}") from None
    return found


def _place(origin: str, node: Node) -> str:
    return f"{origin}:{node.start_mark.line + 1}"


def _line_at(fields: list[Field], column: int) -> int:
    """The line of the field that the column of the spelled rule is in."""
    for text, line in fields:
        if column <= len(text):
            return line
        column -= len(text) + 1
    return fields[-1][1]


def _fields(node: Node, origin: str) -> list[Field]:
    """The fields of one rule's text, each with its line. A rule given as text is a single one."""
    import yaml

    _check_tag(node, origin)
    line = node.start_mark.line + 1
    if isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:str":
        return [(str(node.value).strip(), line)]
    if not isinstance(node, yaml.MappingNode):
        raise UsageError(f"{_place(origin, node)}: a rule is a text or a mapping with the key {OPERATIONS}")
    keys = _mapping(node, origin)
    names, names_line = keys.pop(OPERATIONS, (None, line))
    if not names or names is True:
        near = values.nearest(OPERATIONS, keys)
        hint = f", not {near}" if near else ""
        reason = f"a rule needs the key {OPERATIONS}, as in '{OPERATIONS}: write'{hint}"
        raise UsageError(f"{_place(origin, node)}: {reason}")
    fields = [(rules.spell(names), names_line)]
    return fields + [(rules.spell_field(key, value), at) for key, (value, at) in keys.items() if value is not False]


def _mapping(node: MappingNode, origin: str) -> dict[str, tuple[Any, int]]:
    """The keys of a rule with their values and lines."""
    import yaml

    found: dict[str, tuple[Any, int]] = {}
    for key_node, value_node in node.value:
        key, line = str(key_node.value), key_node.start_mark.line + 1
        for one in (key_node, value_node):
            _check_tag(one, origin)
        if not isinstance(key_node, yaml.ScalarNode):
            raise UsageError(f"{_place(origin, key_node)}: a key is a plain word")
        if key in found:
            raise UsageError(f"{_place(origin, key_node)}: {key} is there twice")
        if isinstance(value_node, yaml.SequenceNode):
            if not all(isinstance(item, yaml.ScalarNode) for item in value_node.value) or not value_node.value:
                raise UsageError(f"{_place(origin, value_node)}: {key} is a list of plain values")
            for item in value_node.value:
                _check_tag(item, origin)
            found[key] = [str(item.value) for item in value_node.value], line
        elif isinstance(value_node, yaml.ScalarNode):
            found[key] = _scalar(value_node), line
        else:
            raise UsageError(f"{_place(origin, value_node)}: {key} is a plain value or a list of them")
    return found


def _check_tag(node: Node, origin: str) -> None:
    """Refuses tags such as !!python/object: a rule file is plain data."""
    import yaml

    if node.tag not in yaml.SafeLoader.yaml_constructors:
        raise UsageError(f"{_place(origin, node)}: could not determine a constructor for the tag {node.tag!r}")


def _scalar(node: ScalarNode) -> str | bool:
    """The value as it is written, so that 1e3, 010 and dates stay text; true and false for keys without a value."""
    if node.tag == "tag:yaml.org,2002:bool" and node.value.lower() in ("true", "false"):
        return bool(node.value.lower() == "true")
    if node.tag == "tag:yaml.org,2002:null":
        return True
    return str(node.value)
