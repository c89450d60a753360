"""Named workflows that an operator offers, from YAML. Pure.

A workflow has stages with names, and defaults of their fields::

    two_times:
      about: A picture, and the same at twice its size.
      steps: 30
      stages:
        - {name: base, type: txt2img, width: 768, height: 768}
        - {name: large, type: img2img, scale: 2, denoising_strength: 0.3}
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

from worker.common.yaml_text import load_yaml
from worker.contract.parse.workflow_parser import parse_workflow
from worker.errors import InvalidInput

if TYPE_CHECKING:
    from worker.contract.parse.workflow_parser import Definition


class WorkflowsInvalid(ValueError):
    """The YAML is not a set of workflows; the message names the workflow and what is wrong."""


def read_workflows(text: str) -> dict[str, Definition]:
    """Return the workflows in a YAML text, each read once as a job names it.

    Raises:
        WorkflowsInvalid: not YAML, not of this shape, or a stage with a mistake.
    """
    try:
        content = load_yaml(text)
    except yaml.YAMLError as error:
        raise WorkflowsInvalid(f"not YAML: {error}") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise WorkflowsInvalid("must be a mapping of names to workflows")
    return {str(name): _read_one(str(name), body) for name, body in content.items()}


def _read_one(name: str, body: object) -> Definition:
    if not isinstance(body, dict):
        raise WorkflowsInvalid(f"{name}: must be a mapping with stages")
    definition: dict[str, Any] = {str(field): value for field, value in body.items() if field != "about"}
    stages = definition.get("stages")
    if not isinstance(stages, list) or not all(isinstance(stage, dict) and stage.get("name") for stage in stages):
        raise WorkflowsInvalid(f"{name}: stages must be a list of mappings, each with a name")
    try:
        parse_workflow({"prompt": "", "type": "workflow", "workflow": name}, named={name: definition})
    except InvalidInput as error:
        raise WorkflowsInvalid(f"{name}: {error.message}") from None
    return definition
