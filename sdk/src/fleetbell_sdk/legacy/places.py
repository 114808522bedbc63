"""The original's modules: one for each class, so that an import changes at its beginning only.

``from fleetbell_sdk.legacy.client.dto.AuthOutDTO import AuthOutDTO`` works as it did with
``com.huawei.iotplatform`` in the place of ``fleetbell_sdk.legacy``. These modules are made here rather than
written as files: there are some seventy of them, with nothing in them but a name.
"""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from types import ModuleType

__all__ = ["put"]


def put(package: str, module: str, **names: object) -> None:
    """Make ``module`` of ``package``, with ``names`` in it.

    To be called while the package is imported: the import system looks for a module again after it has
    imported the package that the module is in.
    """
    full_name = f"{package}.{module}"
    made = ModuleType(full_name, f"``{', '.join(names)}``, where the original had it.")
    made.__spec__ = ModuleSpec(full_name, None)
    vars(made).update(names)
    sys.modules[full_name] = made
    setattr(sys.modules[package], module, made)
