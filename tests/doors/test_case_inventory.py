"""Every row of the case table (PROTOCOLS 10) and the tests that hold it.

A row of case_rows.py is held by the id it has there; the others by a file and a test's name. What
runs elsewhere than in `make test` says where: the JavaScript clients in `make test-clients`.
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path

import pytest

from tests.doors.case_rows import ROWS

TESTS = Path(__file__).parents[1]
TABLE = "doors/test_case_table.py::test_a_row_of_the_table"
ASKED = "doors/test_case_questions.py::test_"
JS = "clients/js/check_js.py::test_"
SDK = {name: f"doors/test_sdk_{name}.py::test_" for name in ("openai", "anthropic", "gemini")}
OLLAMA = "doors/test_sdk_ollama.py::test_"
RESPONSES = "doors/test_sdk_responses.py::test_"
BYTES = "doors/test_door_bytes.py::test_"
COPILOT = "doors/test_copilot.py::test_"
CODE = "doors/test_claude_code.py::test_"
BAD = "doors/test_bad_questions.py::test_"
CUTS = BYTES + "an_answer_is_the_same_wherever_the_upstreams_bytes_are_cut"
QUIET = "doors/test_silence.py::test_only_what_every_client_passes_over_is_written"

ELSEWHERE: dict[str, tuple[str, ...]] = {
    "F02": (CUTS,),
    "T05": (
        "dialects/test_tool_arguments.py::test_what_is_no_object_is_kept_whole_under_one_name",
    ),
    "R01": (
        "dialects/test_openai_stream.py::"
        "test_think_tags_part_thought_from_text_however_they_were_cut",
    ),
    "A04": (ASKED + "a04_an_error_event_before_any_content_sends_the_question_on",),
    "A06": (ASKED + "a06_the_version_is_pinned_and_new_models_get_no_sampling",),
    "A07": (ASKED + "a07_results_are_one_turn_and_stand_before_the_text",),
    "A08": (
        ASKED + "a08_a_limit_keeps_its_wait",
        ASKED + "a08_a_refused_key_is_not_tried_again",
    ),
    "G02": (ASKED + "g02_a_blocked_prompt_is_no_empty_success",),
    "G03": (ASKED + "g03_a_signature_goes_back_on_its_own_call",),
    "G04": (ASKED + "g04_and_g05_an_error_may_be_a_list_and_its_wait_in_the_body",),
    "G05": (ASKED + "g04_and_g05_an_error_may_be_a_list_and_its_wait_in_the_body",),
    "G07": (ASKED + "g07_a_hard_schema_is_put_into_words_that_gemini_takes",),
    "G08": (ASKED + "g08_a_result_of_a_tool_is_an_object_with_its_name",),
    "O02": ("providers/test_matrix.py::test_every_status_of_every_upstream_has_a_clear_error",),
    "O05": (ASKED + "o05_options_have_the_types_that_ollama_wants",),
    "O06": (ASKED + "o06_a_long_prompt_gets_a_context_that_holds_it",),
    "O07": (ASKED + "o07_the_choice_of_tools_that_ollama_does_not_have",),
    "O08": (ASKED + "o08_a_prompt_that_ollama_cut_is_told",),
    "I01": (
        SDK["openai"] + "one_shot",
        SDK["openai"] + "a_stream_with_usage_only_when_it_is_asked",
        JS + "one_shot_and_stream",
    ),
    "I02": (BYTES + "openai",),
    "I03": (
        "gateway/test_commit_deadline.py::test_a_long_wait_for_the_first_event_is_kept_alive",
        SDK["openai"] + "keep_alives_of_a_silent_upstream_mean_nothing",
        QUIET,
    ),
    "I04": (SDK["openai"] + "structured_output",),
    "I05": (
        ASKED + "i05_content_null_beside_calls_works_everywhere",
        SDK["openai"] + "tools_there_and_back",
    ),
    "I06": (SDK["openai"] + "embeddings_are_asked_for_in_base64_and_read_as_floats",),
    "I07": (SDK["openai"] + "models_are_listed_and_found_by_names_with_slashes_and_colons",),
    "I08": (
        BAD + "what_is_no_question",
        BAD + "an_unknown_model_is_404",
        "doors/test_error_classes.py::test_the_sdk_raises_its_own_class",
    ),
    "I09": (
        SDK["openai"] + "the_sdk_does_not_ask_again_what_the_gateway_asked_again_already",
        SDK["openai"] + "the_wait_of_a_limit_reaches_the_sdk",
    ),
    "I10": (SDK["openai"] + "an_upstream_that_dies_in_mid_stream_is_an_error_with_its_text_kept",),
    "I11": (JS + "one_shot_and_stream", JS + "structured_output"),
    "I12": (COPILOT + "it_finds_the_models_and_talks_with_each",),
    "I13": (COPILOT + "its_reader_gets_whole_calls_with_ids_of_their_own",),
    "I14": (
        "doors/test_silence.py::test_continue_loses_nothing_to_a_keep_alive_in_the_same_piece",
    ),
    "I15": (SDK["openai"] + "five_mebibytes_of_picture_pass",),
    "I16": (
        RESPONSES + "a_stream_has_its_events_in_order",
        RESPONSES + "structured_output",
        RESPONSES + "tools_there_and_back",
        BYTES + "responses",
        JS + "one_shot_and_stream",
    ),
    "C01": (
        SDK["anthropic"] + "one_shot",
        SDK["anthropic"] + "a_stream",
        JS + "one_shot_and_stream",
    ),
    "C02": (BYTES + "anthropic",),
    "C03": (SDK["anthropic"] + "thoughts_and_text_are_blocks_in_their_order", BYTES + "anthropic"),
    "C04": (SDK["anthropic"] + "pings_of_a_silent_upstream_mean_nothing", QUIET),
    "C05": (SDK["anthropic"] + "tokens_are_counted_and_models_listed",),
    "C06": (CODE + "head_models_and_a_stream",),
    "C07": (
        CODE + "after_a_cut_stream_it_asks_for_the_whole",
        "doors/test_claude_cli.py::test_c07_the_command_itself_prints_the_answer",
    ),
    "C08": (
        SDK["anthropic"] + "structured_output",
        SDK["anthropic"] + "a_tool_that_must_be_called",
        JS + "structured_output",
    ),
    "C09": (
        SDK["anthropic"] + "an_upstream_that_dies_in_mid_stream_is_an_error_event",
        CODE + "after_a_cut_stream_it_asks_for_the_whole",
    ),
    "C10": (
        SDK["anthropic"] + "the_first_event_has_a_number_of_input_tokens",
        CODE + "the_meter_has_a_number_before_the_first_word",
    ),
    "C11": (SDK["anthropic"] + "an_hour_of_waiting_is_told_as_a_minute",),
    "N01": (
        OLLAMA + "one_shot",
        OLLAMA + "a_stream",
        OLLAMA + "generate",
        OLLAMA + "models_are_listed_shown_and_found_with_and_without_a_tag",
        OLLAMA + "embeddings_at_both_doors",
        JS + "one_shot_and_stream",
    ),
    "N02": (
        OLLAMA + "a_stream",
        "dialects/test_ollama_rendering.py::test_a_client_that_splits_lines_as_python_does_reads_all",
    ),
    "N03": (BYTES + "ollama_streams_when_nobody_says_whether", BYTES + "ollama"),
    "N04": (OLLAMA + "keep_alives_of_a_silent_upstream_are_empty_talk", QUIET),
    "N05": (OLLAMA + "tools_there_and_back_without_ids",),
    "N06": (ASKED + "n06_a_format_reaches_every_upstream", OLLAMA + "structured_output"),
    "N07": (
        OLLAMA + "the_status_and_words_of_an_error",
        OLLAMA + "an_upstream_that_dies_in_mid_stream_is_an_error_line",
    ),
    "N08": (COPILOT + "it_finds_the_models_and_talks_with_each",),
    "N09": (OLLAMA + "models_are_listed_shown_and_found_with_and_without_a_tag",),
    "N10": (OLLAMA + "an_empty_question_loads_and_asks_nobody",),
    "N11": (
        BYTES + "head_has_headers_and_no_body",
        BYTES + "ollama_streams_when_nobody_says_whether",
    ),
    "N12": (OLLAMA + "models_are_listed_shown_and_found_with_and_without_a_tag",),
    "Q01": (
        SDK["gemini"] + "one_shot",
        SDK["gemini"] + "a_stream",
        SDK["gemini"] + "structured_output",
        SDK["gemini"] + "tools_there_and_back",
        SDK["gemini"] + "tokens_are_counted_and_models_listed",
        JS + "one_shot_and_stream",
    ),
    "Q02": (BYTES + "gemini",),
    "Q03": (
        "doors/test_gemini_door.py::test_names_and_paths",
        "dialects/test_gemini_asked.py::test_every_field_is_read_in_both_spellings",
    ),
    "S01": (
        "doors/test_event_source.py::"
        "test_s01_a_post_for_a_fetch_and_a_get_for_an_event_source_are_one_stream",
        "doors/test_event_source.py::"
        "test_s01_one_that_comes_back_is_told_204_and_nobody_is_asked_again",
        "doors/test_event_source.py::test_s01_a_real_event_source_stops_by_itself_and_asks_once",
    ),
    "S02": (
        "doors/test_event_source.py::test_s02_a_head_has_headers_for_a_page_and_no_body",
        "doors/test_event_source.py::test_s02_a_wrong_method_names_the_right_ones_and_asks_nobody",
        "doors/test_event_source.py::test_s02_options_tell_a_page_what_it_may_send",
    ),
    "X01": (
        "gateway/test_hang_up.py::test_a_hang_up_frees_the_upstream",
        SDK["openai"] + "a_stream_that_is_closed_frees_the_upstream",
        SDK["anthropic"] + "a_stream_that_is_closed_frees_the_upstream",
        SDK["gemini"] + "a_stream_that_is_closed_frees_the_upstream",
        OLLAMA + "a_stream_that_is_closed_frees_the_upstream",
        RESPONSES + "a_stream_that_is_closed_frees_the_upstream",
    ),
    "X02": (SDK["openai"] + "fifty_streams_at_once_do_not_mix",),
    "X03": (
        "gateway/test_slow_reader.py::"
        "test_a_caller_who_never_reads_is_closed_and_settled_as_cancelled",
        "gateway/test_slow_reader.py::test_a_caller_who_does_not_read_holds_a_bounded_buffer",
    ),
    "X04": (BYTES + "a_stream_is_never_packed_or_kept",),
    "X05": ("doors/test_pairs.py::test_text_thoughts_calls_finish_and_usage_are_the_same",),
    "X06": (BYTES + "when_the_first_upstream_fails_the_second_one_answers",),
    "X07": (
        "gateway/test_attempts.py::test_a_cut_stream_is_not_a_success",
        "faults/test_fault_matrix.py::test_a_fault_has_its_one_true_outcome",
    ),
    "X08": (
        "security/test_canary.py::test_no_secret_leaves_by_an_error",
        "security/test_canary.py::test_no_secret_leaves_in_mid_stream",
        BAD + "our_key_is_never_told",
    ),
}
COUNTS = {
    "F": 20, "T": 6, "U": 2, "R": 1, "A": 9, "G": 8, "O": 8, "I": 16, "C": 11, "N": 12, "Q": 3,
    "S": 2, "X": 8,
}  # fmt: skip
IDS = [f"{letter}{n:02}" for letter, count in COUNTS.items() for n in range(1, count + 1)]


@lru_cache(maxsize=64)
def names_in(file: str) -> frozenset[str]:
    text = (TESTS / file).read_text(encoding="utf-8")
    return frozenset(re.findall(r"^(?:async )?def (test_\w+)", text, flags=re.M))


def holders(row: str) -> list[str]:
    """The tests of a row."""
    found = [f"{TABLE}[{one.id}]" for one in ROWS if one.id.partition("-")[0] == row]
    return found + list(ELSEWHERE.get(row, ()))


@pytest.mark.parametrize("row", IDS)
def test_a_row_is_held_by_tests_that_exist(row: str) -> None:
    assert holders(row), f"no test holds {row}"
    for holder in holders(row):
        file, _, name = holder.partition("::")
        assert name.partition("[")[0] in names_in(file), holder


def test_there_are_no_other_rows() -> None:
    known = set(IDS)
    assert set(ELSEWHERE) <= known
    assert {row.id.partition("-")[0] for row in ROWS} <= known
    assert len(known) == 106
