"""The decoders against a literal reading of the WHATWG rules, and where they are kinder."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat.errors import Broken
from dialects.framing import NDJSON, SSE, Decoder, Frame, NdjsonDecoder, SseDecoder
from tests.dialects.cuts import bytewise, cut_at, frames_of

BOM = b"\xef\xbb\xbf"
TERMINATOR = st.sampled_from(["\n", "\r", "\r\n"])
VALUE = st.text(
    st.sampled_from(["a", "é", "😀", " ", ":", "{", "\u2028", "\x85", "\ufeff", "\0", "d"]),
    max_size=5,
)
# "{" and "[" first in a line of no known field, and the field `error`, are where we are kinder
# than the rules: they have tests of their own below.
FIELD = st.sampled_from(["data", "event", "id", "retry", "datum", "", " data", "Data", "\ufeff"])
LINE = st.one_of(
    st.just(""),
    st.builds(lambda name, value: f"{name}:{value}", FIELD, VALUE),
    st.builds(lambda name, value: f"{name}: {value}", FIELD, VALUE),
    FIELD,
)
STREAM = st.builds(
    lambda bom, lines: (bom + "".join(line + end for line, end in lines)).encode(),
    st.sampled_from(["", "\ufeff", "\ufeff\ufeff"]),
    st.lists(st.tuples(LINE, TERMINATOR), max_size=12),
)


def by_the_rules(stream: bytes) -> list[Frame]:
    """WHATWG HTML 9.2.6, word by word, on the whole decoded text; but an event without its
    blank line at the end counts."""
    text = stream.decode("utf-8")
    text = text.removeprefix("\ufeff")
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    lines = text.split("\n")
    frames: list[Frame] = []
    data = ""
    event = ""
    for line in [*lines, ""]:
        if line == "":
            if data == "":
                event = ""
                continue
            frames.append(Frame(data.removesuffix("\n").encode(), event.encode()))
            data = ""
            event = ""
        elif line.startswith(":"):
            continue
        else:
            field, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if field == "event":
                event = value
            elif field == "data":
                data += value + "\n"
    return frames


@given(STREAM, st.lists(st.integers(0, 200), max_size=8))
def test_frames_follow_the_rules_wherever_the_bytes_were_cut(
    stream: bytes, cuts: list[int]
) -> None:
    expected = by_the_rules(stream)
    assert frames_of(SSE, [stream]) == expected
    assert frames_of(SSE, cut_at(stream, cuts)) == expected
    assert frames_of(SSE, bytewise(stream)) == expected


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
def test_every_kind_of_line_end_is_understood(end: bytes) -> None:
    stream = end.join([b"event: a", b"data: 1", b"data: 2", b"", b"data:3", b"", b""])
    expected = [Frame(b"1\n2", b"a"), Frame(b"3")]
    for pieces in ([stream], bytewise(stream)):
        assert frames_of(SSE, pieces) == expected


def test_a_cr_and_its_lf_in_two_reads_are_one_line_end() -> None:
    decoder = SseDecoder()
    assert decoder.feed(b"data: 1\r") == []
    assert decoder.feed(b"") == []
    assert decoder.feed(b"\ndata: 2\r") == []
    assert decoder.feed(b"\n\r\n") == [Frame(b"1\n2")]


def test_a_frame_is_given_as_soon_as_its_lone_cr_is_there() -> None:
    decoder = SseDecoder()
    assert decoder.feed(b"data: 1\r\r") == [Frame(b"1")]
    assert decoder.feed(b"\n") == []
    assert decoder.close() == []


def test_only_the_very_first_bytes_can_be_a_bom() -> None:
    assert frames_of(SSE, bytewise(BOM + b"data: 1\n\n")) == [Frame(b"1")]
    assert frames_of(SSE, [b"\n", BOM + b"data: 1\n\n"]) == []
    assert frames_of(NDJSON, [b"\n", BOM + b"{}\n"]) == [Frame(BOM + b"{}")]


def test_comments_and_unknown_fields_are_passed_over() -> None:
    stream = b": OPENROUTER PROCESSING\n\nid: 7\nretry: 10\nfoo: bar\n: ping\ndata: 1\n\nid:8\n\n"
    assert frames_of(SSE, bytewise(stream)) == [Frame(b"1")]


def test_an_event_name_after_its_data_counts_and_does_not_outlive_it() -> None:
    stream = b"data: 1\nevent: a\n\ndata: 2\n\nevent: b\n\ndata: 3\n\n"
    assert frames_of(SSE, bytewise(stream)) == [Frame(b"1", b"a"), Frame(b"2"), Frame(b"3")]


def test_the_last_event_needs_no_blank_line_and_no_line_end() -> None:
    assert frames_of(SSE, [b"data: 1\n\ndata: [DONE]"]) == [Frame(b"1"), Frame(b"[DONE]")]
    assert frames_of(SSE, [b"data: 1\n"]) == [Frame(b"1")]


def test_an_empty_data_field_is_an_event_of_nothing() -> None:
    assert frames_of(SSE, [b"data:\n\ndata\n\ndata: \n\n"]) == [Frame(b"")] * 3


def test_an_error_field_is_an_error_event() -> None:
    stream = b'data: 1\n\nerror: {"code":500,\ndata: "message":"x"}\n\ndata: 2\n\n'
    expected = [Frame(b"1"), Frame(b'{"code":500,\n"message":"x"}', b"error"), Frame(b"2")]
    assert frames_of(SSE, bytewise(stream)) == expected


@pytest.mark.parametrize(
    "body",
    [
        b'{"error":{"message":"x"}}',
        b'{\n  "error": {\n    "message": "x"\n  }\n}\n',
        b'[{\r\n  "error": {"code": 400}\r\n}\r\n]',
        BOM + b'{"choices":[]}',
    ],
)
def test_json_that_is_no_sse_comes_last_as_an_error_event(body: bytes) -> None:
    plain = body.removeprefix(BOM).replace(b"\r\n", b"\n").strip()
    for pieces in ([body], bytewise(body)):
        assert frames_of(SSE, pieces) == [Frame(plain, b"error")]


def test_json_after_events_and_noise_is_still_told() -> None:
    stream = b'data: 1\n\nnoise\n{"error":"x"}\n'
    assert frames_of(SSE, [stream]) == [Frame(b"1"), Frame(b'{"error":"x"}', b"error")]


def test_html_is_no_event() -> None:
    assert frames_of(SSE, [b"<html>\n<body>{}</body>\n</html>"]) == []


def test_one_json_body_of_many_lines_may_be_large() -> None:
    body = b"{\n" + b",\n".join(b'"k%d": "%s"' % (n, b"x" * 90) for n in range(3000)) + b"\n}"
    assert frames_of(SSE, [body]) == [Frame(body, b"error")]


def test_a_large_event_is_one_frame() -> None:
    data = b"x" * 300 * 1024
    stream = b"data: " + data + b"\n\n"
    pieces = [stream[at : at + 4096] for at in range(0, len(stream), 4096)]
    assert frames_of(SSE, pieces) == [Frame(data)]


def feed_all(decoder: Decoder, pieces: list[bytes]) -> None:
    for piece in pieces:
        decoder.feed(piece)


TOO_LONG = {
    "one line": b"data: " + b"x" * 100 + b"\n\n",
    "a line without end": b"data: " + b"x" * 100,
    "many data lines": b"data: xxxx\n" * 20,
    "many empty data lines": b"data\n" * 100,
    "many error lines": b"error: xxxx\n" * 20,
    "a comment": b":" + b"x" * 100 + b"\n",
    "stray json": b"{\n" + b'"a": 1,\n' * 20,
}


@pytest.mark.parametrize("stream", TOO_LONG.values(), ids=TOO_LONG.keys())
def test_what_grows_over_the_limit_is_broken(stream: bytes) -> None:
    for pieces in ([stream], bytewise(stream)):
        decoder = SseDecoder(limit=64)
        with pytest.raises(Broken, match="more than 64 bytes") as caught:
            feed_all(decoder, pieces)
        assert caught.value.code == "malformed"


def test_the_limit_is_for_one_event_and_not_for_the_stream() -> None:
    decoder = SseDecoder(limit=64)
    stream = (b"data: " + b"x" * 58 + b"\n\n") * 10
    assert len(decoder.feed(stream)) == 10
    assert [frame for piece in bytewise(stream) for frame in decoder.feed(piece)]


def test_the_limit_is_32_mib_unless_said_otherwise() -> None:
    decoder = SseDecoder()
    mebibyte = b"x" * 2**20
    decoder.feed(b"data: ")
    for _ in range(31):
        decoder.feed(mebibyte)
    with pytest.raises(Broken):
        decoder.feed(mebibyte)


JSON_LINE = st.text(st.sampled_from(["{", "}", "é", "\u2028", "\x85", " "]), max_size=5)


@given(st.lists(st.tuples(JSON_LINE, TERMINATOR)), st.lists(st.integers(0, 100), max_size=8))
def test_a_line_of_ndjson_is_a_frame_wherever_it_was_cut(
    lines: list[tuple[str, str]], cuts: list[int]
) -> None:
    stream = "".join(line + end for line, end in lines).encode()
    expected = [Frame(line.encode()) for line, _ in lines if line.encode().strip()]
    assert frames_of(NDJSON, [stream]) == expected
    assert frames_of(NDJSON, cut_at(stream, cuts)) == expected
    assert frames_of(NDJSON, bytewise(stream)) == expected


def test_the_last_line_of_ndjson_needs_no_end() -> None:
    assert frames_of(NDJSON, bytewise(b'{"a":1}\r\n\r\n{"b":2}')) == [
        Frame(b'{"a":1}'),
        Frame(b'{"b":2}'),
    ]


def test_a_line_of_ndjson_over_the_limit_is_broken() -> None:
    for pieces in ([b"x" * 65 + b"\n"], bytewise(b"x" * 65)):
        decoder = NdjsonDecoder(limit=64)
        with pytest.raises(Broken):
            feed_all(decoder, pieces)


FRAME = st.builds(
    lambda lines, event: Frame("\n".join(lines).encode(), event.encode()),
    st.lists(st.text(st.sampled_from("a é{"), max_size=4), min_size=1, max_size=3),
    st.sampled_from(["", "message_stop", "é"]),
)


@given(st.lists(FRAME))
def test_encoded_frames_decode_to_themselves(frames: list[Frame]) -> None:
    assert frames_of(SSE, [SSE.encode(frame) for frame in frames]) == frames


def test_a_line_of_ndjson_ends_in_a_line_feed() -> None:
    assert NDJSON.encode(Frame(b"{}")) == b"{}\n"
