"""Sounds for trained networks, made from seeds: notes of a plucked string, and vowels by formants."""

from __future__ import annotations

from typing import Sequence

import numpy as np

__all__ = ["notes", "voices"]

# Frequencies of the first three formants in Hz, of a, e, i, o, u as a man speaks them.
_VOWELS = ((730, 1090, 2440), (530, 1840, 2480), (270, 2290, 3010), (570, 840, 2410), (300, 870, 2240))
_PULSES = (0.9, 0.5, 0.3)


def notes(rate: int, length: int, numbers: Sequence[int]) -> np.ndarray:
    """Return pieces with two voices of plucked notes, shape (N, length), largest magnitude 0.7."""
    pieces = []
    for number in numbers:
        random = np.random.default_rng(number)
        piece = np.zeros(length)
        for voice in range(2):
            start = int(random.integers(0, rate // 4))
            while start < length:
                pitch = 440 * 2 ** ((int(random.integers(40 + 12 * voice, 64 + 12 * voice)) - 69) / 12)
                time = np.arange(min(int(rate * random.uniform(0.2, 0.7)), length - start)) / rate
                strength = random.uniform(0.3, 1.0)
                for harmonic in range(1, 9):
                    decay = np.exp(-time * (2 + harmonic)) * (1 - np.exp(-time * 200))
                    wave = np.sin(2 * np.pi * pitch * harmonic * time + random.uniform(0, 2 * np.pi))
                    piece[start : start + len(time)] += strength / harmonic**1.3 * decay * wave
                start += int(len(time) * random.uniform(0.6, 1.2)) + 1
        piece += 0.002 * random.standard_normal(length)
        pieces.append(0.7 * piece / np.abs(piece).max())
    return np.stack(pieces).astype(np.float32)


def voices(rate: int, length: int, numbers: Sequence[int]) -> np.ndarray:
    """Return speech-like sounds between stretches of noise, shape (N, length), largest magnitude 0.5."""
    pieces = []
    for number in numbers:
        random = np.random.default_rng(10_000 + number)
        piece = random.uniform(0.001, 0.02) * random.standard_normal(length)
        place = int(random.integers(0, rate // 2))
        while place < length:
            for _ in range(int(random.integers(3, 9))):
                vowel = _vowel(random, rate, int(rate * random.uniform(0.08, 0.25)))
                end = min(place + len(vowel), length)
                piece[place:end] += vowel[: max(end - place, 0)]
                place += len(vowel) + int(rate * random.uniform(0.0, 0.06))
            place += int(rate * random.uniform(0.3, 1.0))
        pieces.append(0.5 * piece / np.abs(piece).max())
    return np.stack(pieces).astype(np.float32)


def _vowel(random: np.random.Generator, rate: int, length: int) -> np.ndarray:
    """Return a vowel: harmonics of a falling voice, each as loud as the formants let it through."""
    time = np.arange(length) / rate
    pitch = random.uniform(90, 220) * (1 + 0.15 * np.sin(2 * np.pi * 3 * time) - 0.2 * time)
    phase = 2 * np.pi * np.cumsum(pitch) / rate
    formants = _VOWELS[int(random.integers(len(_VOWELS)))]
    sound = np.zeros(length)
    for harmonic in range(1, int(3800 / pitch.max())):
        frequency = harmonic * pitch.mean()
        loud = sum(
            strength / (1 + ((frequency - centre) / (50 + 0.05 * centre)) ** 2)
            for strength, centre in zip(_PULSES, formants)
        )
        sound += (loud + 0.02) / np.sqrt(harmonic) * np.sin(harmonic * phase)
    breath = 0.02 * random.standard_normal(length)
    return (sound + breath) * np.sin(np.pi * np.linspace(0, 1, length)) ** 0.5 * random.uniform(0.4, 1.0)
