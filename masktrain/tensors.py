"""Checkpoints as safetensors in half precision: a file that holds numbers and can run nothing.

Format: https://github.com/huggingface/safetensors. Its metadata are strings; under `masktrain` it
holds, as JSON, all of a checkpoint but the weights.
"""

import json
from typing import Any

import torch

KEY = "masktrain"
KEPT = ("arch", "preprocessing", "threshold", "threshold_from", "epoch", "config")
"""What of a checkpoint goes along; optimiser and data of its run do not."""


class DoesNotFitError(ValueError):
    """A weight that half precision cannot hold."""


def pack(payload: dict[str, Any]) -> bytes:
    """Return a checkpoint as the bytes of a safetensors file, floats in half precision.

    Raises:
        DoesNotFitError: a weight is beyond 65,504, or not a number.
    """
    from safetensors.torch import save

    tensors = {name: _halved(name, tensor) for name, tensor in payload["model"].items()}
    about = {name: payload[name] for name in KEPT if name in payload}
    return save(tensors, {KEY: json.dumps(about)})


def _halved(name: str, tensor: torch.Tensor) -> torch.Tensor:
    if not tensor.is_floating_point():
        return tensor.contiguous()
    half = tensor.half()
    if not bool(torch.isfinite(half).all()):
        raise DoesNotFitError(
            f"{name} does not fit half precision: hand on the checkpoint as it is"
        )
    return half.contiguous()


def unpack(packed: bytes) -> dict[str, Any]:
    """Return the checkpoint that `pack` wrote, floats in single precision again.

    Raises:
        ValueError: not such a file.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        tensors = load(packed)
        # The header: its length in 8 bytes, then JSON.
        header = json.loads(packed[8 : 8 + int.from_bytes(packed[:8], "little")])
        about: dict[str, Any] = json.loads(header["__metadata__"][KEY])
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"not weights that masktrain released ({error})") from None
    model = {
        name: tensor.float() if tensor.is_floating_point() else tensor
        for name, tensor in tensors.items()
    }
    return {"model": model} | about
