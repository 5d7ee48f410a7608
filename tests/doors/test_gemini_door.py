"""What Gemini's clients write in two ways: the path, and the names of fields."""

from __future__ import annotations

from typing import Any

import pytest

from tests.doors.lab import PIXEL, SCHEMA, image_in, schema_in
from tests.doors.upstreams import KINDS, OBJECT, play, provider
from tests.replay.gateway import running, settings
from tests.replay.server import ReplayServer

CAMEL: dict[str, Any] = {
    "systemInstruction": {"parts": [{"text": "Be brief."}]},
    "contents": [{"parts": [{"inlineData": {"mimeType": "image/png", "data": PIXEL}}]}],
    "generationConfig": {
        "maxOutputTokens": 9,
        "responseMimeType": "application/json",
        "responseJsonSchema": SCHEMA,
    },
}
SNAKE: dict[str, Any] = {
    "system_instruction": {"parts": [{"text": "Be brief."}]},
    "contents": [{"parts": [{"inline_data": {"mime_type": "image/png", "data": PIXEL}}]}],
    "generation_config": {
        "max_output_tokens": 9,
        "response_mime_type": "application/json",
        "response_json_schema": SCHEMA,
    },
}


@pytest.mark.parametrize("body", [CAMEL, SNAKE], ids=["camel", "snake"])
@pytest.mark.parametrize("model", ["lab/a/b", "lab/a%2Fb", "lab/c:7b", "a/b", "c:7b"])
@pytest.mark.parametrize("version", ["v1", "v1beta", "v1alpha"])
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "gemini"])
async def test_names_and_paths(kind: str, version: str, model: str, body: dict[str, Any]) -> None:
    async with ReplayServer(play(kind, OBJECT, False)) as upstream:
        tree = provider(kind, upstream.url, models=["a/b", "c:7b"])
        async with (
            running(settings(providers={"lab": tree})) as gateway,
            gateway.session.post(
                f"{gateway.url}/{version}/models/{model}:generateContent",
                json=body,
                params={"key": "AIza-x"},
            ) as response,
        ):
            assert response.status == 200, await response.read()
        sent = upstream.received[0].body
        assert sent["model"] == ("c:7b" if "c:7b" in model else "a/b")
        assert "AIza" not in upstream.received[0].path
        assert image_in(kind, sent) == PIXEL
        assert set(schema_in(kind, sent)["properties"]) == {"name", "age"}
        assert "Be brief." in str(sent)
