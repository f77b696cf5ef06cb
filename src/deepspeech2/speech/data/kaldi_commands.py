"""Commands in Kaldi's ``wav.scp``, understood without being run: which file they decode and which channel they keep."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass

from deepspeech2.errors import ManifestError


@dataclass(frozen=True, slots=True)
class Decoding:
    """What a command reads.

    Attributes:
        names: The words that stand where files are expected, outputs and ``-`` among them.
        channel: The one channel the command keeps, counted from 0; None where it keeps or mixes all.
        is_mono: Whether one channel comes out: the one it keeps, or the mix of all.
    """

    names: tuple[str, ...]
    channel: int | None = None
    is_mono: bool = False


@dataclass(frozen=True, slots=True)
class _Options:
    """Options that decode, name a format or a rate: alone, as a pattern, and before a value."""

    alone: str
    valued: tuple[str, ...] = ()


_PROGRAMS = {
    "cat": _Options("(?!)"),
    "flac": _Options("-[cdsF]+|--decode|--stdout|--silent|--totally-silent"),
    "sph2pipe": _Options("-[pua]", ("-f", "-c", "-h")),
    "sox": _Options("-[qDGSBLRsu1234]|-V[0-9]?|--no-dither|--guard", ("-t", "-r", "-b", "-e", "-c", "-C")),
    "ffmpeg": _Options(
        "-y|-nostdin|-vn|-hide_banner|-nostats",
        (
            *("-i", "-f", "-ar", "-ac", "-acodec", "-c:a", "-codec:a", "-loglevel", "-v", "-sample_fmt", "-threads"),
            *("-map_channel", "-af", "-filter:a"),
        ),
    ),
    "mpg123": _Options("-[qsw]|--quiet|--stdout", ("-r", "-e")),
    "lame": _Options("-S|--decode|--quiet|--silent|--mp3input"),
    "opusdec": _Options("--quiet|--force-wav", ("--rate",)),
    "oggdec": _Options("-[QR]|--quiet|--raw", ("-b", "-o")),
}
_MIXED = "mixed"
_UNKNOWN = "unknown"


def read_command(command: str, where: str) -> Decoding:
    """Understand a command or a pipe of commands that decodes one file, such as ``sph2pipe -f wav -p -c 2 x.sph |``.

    Known are flac, sph2pipe, sox, ffmpeg, cat, mpg123, lame, opusdec and oggdec as far as they decode, name formats
    and rates, and choose or mix channels. Everything else could change what is heard.

    Args:
        command: The command, with its closing bar.
        where: File and line, for messages.

    Raises:
        ManifestError: A step is not known, or does more than that.
    """
    names: list[str] = []
    channel, is_mono = None, False
    for step in _steps(command, where):
        program = step[0].rsplit("/", 1)[-1]
        if program not in _PROGRAMS:
            raise _refusal(command, where, step[0])
        found = _read_step(program, step[1:], command, where)
        names += found.names
        if found.channel is not None and is_mono:
            raise _refusal(command, where, "a second choice of a channel")
        channel = found.channel if channel is None else channel
        is_mono = is_mono or found.is_mono
    return Decoding(tuple(names), channel, is_mono)


def _steps(command: str, where: str) -> Iterator[list[str]]:
    words = shlex.shlex(re.sub(r"\s2>\s*/dev/null", " ", command), posix=True, punctuation_chars="|")
    words.whitespace_split, words.commenters = True, ""
    step: list[str] = []
    try:
        for word in words:
            if word != "|":
                step.append(word)
            elif step:
                yield step
                step = []
    except ValueError as error:
        raise ManifestError(f"{where}: the command '{command}' cannot be split into words ({error})") from None
    if step:
        yield step


def _read_step(program: str, words: list[str], command: str, where: str) -> Decoding:
    options, names, heard, rest = _PROGRAMS[program], list[str](), list[str](), iter(words)
    for word in rest:
        if program == "sox" and len(names) == 2:  # input and output: effects follow
            heard.append(_effects([word, *rest]))
            if heard[-1] == _UNKNOWN:
                raise _refusal(command, where, f"sox {' '.join(words[words.index(word) :])}")
        elif word in options.valued:
            value = next(rest, "")
            heard.append(_option(program, word, value))
            if heard[-1] == _UNKNOWN:
                raise _refusal(command, where, f"{program} {word} {value}")
            if word == "-i":
                names.append(value)
        elif word == "-" or not word.startswith(("-", "<", ">")):
            names.append(word)
        elif not (re.fullmatch(options.alone, word) or (program == "sox" and word in ("-p", "--sox-pipe"))):
            raise _refusal(command, where, f"{program} {word}")
        elif word in ("-p", "--sox-pipe") and program == "sox":
            names.append("-")
    chosen = [int(channel) for channel in heard if channel.isdecimal()]
    return Decoding(tuple(names), chosen[-1] if chosen else None, bool(chosen) or _MIXED in heard)


def _option(program: str, option: str, value: str) -> str:
    """The channel an option chooses, ``mixed`` for all in one, nothing where it chooses none, ``unknown`` for more."""
    if (program, option, value) in (("sox", "-c", "1"), ("ffmpeg", "-ac", "1")):
        return _MIXED
    if program == "sph2pipe" and option == "-c":
        return str(int(value) - 1) if value in ("1", "2") else _UNKNOWN
    if option == "-map_channel":
        found = re.fullmatch(r"0\.\d+\.(\d+)", value)
    elif option in ("-af", "-filter:a"):
        found = re.fullmatch(r"pan=(?:mono|1c)\|c0=c(\d+)", value)
    else:
        return ""
    return found[1] if found else _UNKNOWN


def _effects(words: list[str]) -> str:
    """What sox's effects choose, in the words of `_option`."""
    effects, channel = " ".join(words), ""
    # A rate, dither, a mix of all channels, or one channel; each effect ends where the next begins.
    known = re.compile(
        r"(?:rate(?: -[a-zA-Z]+)* [\d.]+k?|dither(?: -s)?|(?P<all>remix -|channels 1)|remix (?P<one>\d+))(?: |$)"
    )
    while effects:
        found = known.match(effects)
        if not found or found["one"] == "0" or (found["one"] and channel):
            return _UNKNOWN
        if found["one"]:
            channel = str(int(found["one"]) - 1)
        elif found["all"]:
            channel = channel or _MIXED
        effects = effects[found.end() :]
    return channel


def _refusal(command: str, where: str, step: str) -> ManifestError:
    return ManifestError(
        f"{where}: the command '{command}' is not run, and '{step}' may change what is heard; expected only "
        "decoding, format, rate and choice of a channel: save its output as a file and name that"
    )
