"""A model of your own in 25 lines. In the folder of this file, none of it inside tclap:

tclap check-model my_model:build
tclap zste --model my_model:build --data DATASET
tclap train --model my_model:build --steps-b 200
tclap score runs/train/… first.wav second.wav "rain before thunder"
"""

import torch
import torchaudio
from torch import nn


class MyModel(nn.Module):
    window_s, sample_rate_hz, padding_value = 2.0, 16_000, 256

    def __init__(self):
        super().__init__()
        self.mel = torchaudio.transforms.MelSpectrogram(16_000, n_fft=512, hop_length=320, n_mels=64)
        self.audio = nn.GRU(64, 64, batch_first=True)
        self.letters = nn.Embedding(257, 64)  # UTF-8, and padding
        self.text = nn.GRU(64, 64, batch_first=True)

    def audio_frozen(self, wave):  # [B, T] -> [B, frames, 64]: computed once, then cached
        return torch.log(self.mel(wave) + 1e-5).transpose(1, 2)

    def audio_head(self, features):  # -> [B, D]: trained
        return nn.functional.normalize(self.audio(features)[0].mean(1), dim=-1)

    def text_frozen(self, texts):  # -> one tensor [L, ...] for each text
        return [torch.tensor(list(text.encode()), device=self.letters.weight.device) for text in texts]

    def text_head(self, features, lengths):  # [B, L, ...], padded at the end, and [B] -> [B, D]
        read = self.text(self.letters(features))[0]  # [B, L, D]
        return nn.functional.normalize(read[torch.arange(len(read)), lengths - 1], dim=-1)


def build(seed=0):
    torch.manual_seed(seed)
    return MyModel()
