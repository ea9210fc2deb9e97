"""What a network says to images, in evaluation mode and float32, wherever its weights live."""

import torch
from torch import Tensor, nn

from distill.data import PIXEL_FRACTION_BITS, Images, Pixels
from distill.devices import CPU

EVALUATION_BATCH = 512


def accuracy(module: nn.Module, images: Images) -> float:
    """Share of the images whose greatest logit is their label's; leaves the module in evaluation mode."""
    right = int((predictions(module, images.pixels).argmax(1) == torch.from_numpy(images.labels)).sum())
    return right / len(images)


def predictions(module: nn.Module, pixels: Pixels) -> Tensor:
    """Logits [count, classes], on the CPU, of 8-bit images [count, rows, cols, channels]; in evaluation mode."""
    module.eval()
    device = device_of(module)
    with torch.no_grad():
        batches = (pixels[i : i + EVALUATION_BATCH] for i in range(0, len(pixels), EVALUATION_BATCH))
        return torch.cat([module(to_input(batch, device)) for batch in batches]).cpu()


def to_input(pixels: Pixels, device: torch.device = CPU) -> Tensor:
    """8-bit images [batch, rows, cols, channels] as float32 [batch, channels, rows, cols], integer / 256, exactly."""
    images = torch.from_numpy(pixels).to(device).permute(0, 3, 1, 2).to(torch.float32)
    return images * 2.0**-PIXEL_FRACTION_BITS


def device_of(module: nn.Module) -> torch.device:
    """Where its weights are; without any, the CPU."""
    return next((parameter.device for parameter in module.parameters()), CPU)
