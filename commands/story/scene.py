"""Everything that may be asked of a scene: as a whole, node by node, choice by choice."""

from __future__ import annotations

from commands.declaration import Asking
from commands.story import scene_choices, scene_documents, scene_nodes, scene_templates
from commands.story.scene_choices import AddChoice, EditChoice, MoveChoice, RemoveChoice
from commands.story.scene_documents import (
    CreateScene,
    DeleteScene,
    EditScene,
    RenameScene,
    ReplaceScene,
    RestoreScene,
    SetSceneVariables,
)
from commands.story.scene_nodes import AddNode, EditNode, MoveNode, RemoveNode, RenameNode, ReorderNodes
from commands.story.scene_templates import CreateSceneFromTemplate

__all__ = [
    "AddChoice", "AddNode", "CreateScene", "CreateSceneFromTemplate", "DeleteScene", "EditChoice", "EditNode",
    "EditScene", "MoveChoice", "MoveNode", "RemoveChoice", "RemoveNode", "RenameNode", "RenameScene", "ReorderNodes",
    "ReplaceScene", "RestoreScene", "SetSceneVariables",
]

_SCOPE = "scene:write"
_SCENE = "/api/scenes/{scene_id}"
_NODE = _SCENE + "/nodes/{node_id}"
_CHOICE = _NODE + "/choices/{choice_id}"

COMMANDS = (
    Asking(CreateScene, scene_documents.create, "id", _SCOPE, "POST /api/scenes", creates=True,
           told=scene_documents.created_warnings),
    Asking(CreateSceneFromTemplate, scene_templates.create, "id", _SCOPE, "POST /api/templates/{template_id}/scenes",
           creates=True, others=scene_templates.templates, told=scene_templates.told),
    Asking(ReplaceScene, scene_documents.replace, "scene_id", _SCOPE, f"PUT {_SCENE}"),
    Asking(EditScene, scene_documents.edit, "scene_id", _SCOPE, f"PATCH {_SCENE}"),
    Asking(RenameScene, scene_documents.rename, "scene_id", _SCOPE, f"POST {_SCENE}/rename"),
    Asking(SetSceneVariables, scene_documents.set_variables, "scene_id", _SCOPE, f"PATCH {_SCENE}/variables"),
    Asking(DeleteScene, scene_documents.delete, "scene_id", _SCOPE, f"DELETE {_SCENE}"),
    Asking(RestoreScene, scene_documents.restore, "scene_id", _SCOPE, f"POST {_SCENE}/restore"),
    Asking(AddNode, scene_nodes.add, "scene_id", _SCOPE, f"POST {_SCENE}/nodes"),
    Asking(EditNode, scene_nodes.edit, "scene_id", _SCOPE, f"PATCH {_NODE}"),
    Asking(RenameNode, scene_nodes.rename, "scene_id", _SCOPE, f"POST {_NODE}/rename"),
    Asking(MoveNode, scene_nodes.move, "scene_id", _SCOPE, f"POST {_NODE}/move"),
    Asking(ReorderNodes, scene_nodes.reorder, "scene_id", _SCOPE, f"PUT {_SCENE}/order"),
    Asking(RemoveNode, scene_nodes.remove, "scene_id", _SCOPE, f"DELETE {_NODE}"),
    Asking(AddChoice, scene_choices.add, "scene_id", _SCOPE, f"POST {_NODE}/choices"),
    Asking(EditChoice, scene_choices.edit, "scene_id", _SCOPE, f"PATCH {_CHOICE}"),
    Asking(MoveChoice, scene_choices.move, "scene_id", _SCOPE, f"POST {_CHOICE}/move"),
    Asking(RemoveChoice, scene_choices.remove, "scene_id", _SCOPE, f"DELETE {_CHOICE}"),
)
