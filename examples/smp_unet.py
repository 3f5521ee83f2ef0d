"""segmentation-models-pytorch's Unet and a Tversky loss, to be named in settings (docs/own.md).

python -m trials.train --set model=examples/smp_unet.py:unet --set loss=examples/smp_unet.py:tversky --out runs/smp
"""

import segmentation_models_pytorch as smp


def unet(in_channels, encoder="resnet18"):
    """Logits; another encoder is --set own.encoder=mobilenet_v2. Its weights begin at random, as ours do."""
    return smp.Unet(encoder_name=encoder, encoder_weights=None, in_channels=in_channels)


def tversky(probabilities, targets, valid, tau=0.7):
    """1 - Tversky index, tau the weight of missed pixels (Salehi et al. 2017, arXiv 1706.05721)."""
    probabilities, targets = probabilities * valid, targets * valid
    hit = (probabilities * targets).sum()
    missed, wrong = targets.sum() - hit, probabilities.sum() - hit
    return 1 - (hit + 1) / (hit + tau * missed + (1 - tau) * wrong + 1)
