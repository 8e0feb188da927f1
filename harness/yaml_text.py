"""YAML that says what it seems to: of a key that stands twice, PyYAML would silently take the last."""

from typing import Any

import yaml

_MERGE = "tag:yaml.org,2002:merge"


class _Loader(yaml.SafeLoader):
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.tag != _MERGE and isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    line = key.start_mark.line + 1
                    raise yaml.YAMLError(
                        f"the key {key.value!r} stands twice, again in line {line}; remove one"
                    )
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def parse(text: str) -> Any:
    """Safe YAML. Raises yaml.YAMLError, for a key that stands twice as well."""
    return yaml.load(text, Loader=_Loader)  # noqa: S506  a SafeLoader
