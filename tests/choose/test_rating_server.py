"""``alignsd rate`` with many raters at once: nothing is lost, and nobody writes for another."""

import hashlib
import json
import signal
import socket
import subprocess
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import pairwise

import pytest
from rating_server import DECK, PROMPT, RUN, Server, Visitor, write_pictures

from alignsd.choose import analysis
from alignsd.choose.deck import read_deck
from alignsd.choose.votes import read_votes

RATERS, QUESTIONS = 20, 5


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("rating")


@pytest.fixture(scope="module")
def pictures(folder):
    return write_pictures(folder / "pictures", QUESTIONS)


@pytest.fixture(scope="module")
def server(folder, pictures):
    server = Server(pictures, folder / "out")
    yield server
    server.stop(signal.SIGTERM)


@pytest.fixture
def visitor(server):
    return Visitor(server.port)


def deck_of(server):
    return read_deck(server.votes.with_name(f"{DECK}.deck.json"))


def test_twenty_raters_at_once_lose_nothing_and_count_once(folder, pictures):
    server = Server(pictures, folder / "crowd")

    def rate(number):
        visitor = Visitor(server.port)
        assert visitor.enter(f"rater-{number}")[0] == 200
        return visitor.answer_all(place=number % 2)

    try:
        with ThreadPoolExecutor(RATERS) as crowd:
            sent = list(crowd.map(rate, range(RATERS)))
        progress = Visitor(server.port).ask("GET", "/progress")[1]
    finally:
        code, printed = server.stop()
    assert all(len(answers) == QUESTIONS for answers in sent)
    assert {status for answers in sent for _, status in answers} == {200}
    events = server.events()
    assert len(events) == RATERS * QUESTIONS
    assert set(Counter((event["rater"], event["question"]) for event in events).values()) == {1}
    for event in events:  # each pick is of the place that the rater clicked
        place = int(event["rater"].rpartition("-")[2]) % 2
        assert event["picked"] == event["shown"][place]
    assert f'id="picks">{RATERS * QUESTIONS}<' in progress and "rater-1" not in progress
    assert f'id="finished">{RATERS}<' in progress
    assert code == 0
    assert f"{RATERS} raters, of whom {RATERS} finished; {RATERS * QUESTIONS} votes" in printed
    assert f'votes_file("{RUN}", "{DECK}")' in printed


def test_the_notebooks_read_what_the_page_collected(server, visitor):
    assert visitor.enter("reader")[0] == 200
    visitor.answer_all()
    deck = deck_of(server)
    votes = read_votes(server.votes, deck)
    own = votes[votes["rater"] == "reader"]
    assert sorted(own["question"]) == sorted(question.id for question in deck.questions)
    assert set(own["shown_at"]) == {0}
    assert len(analysis.between_raters(votes)) in (0, 2)


def test_order_of_questions_differs_between_raters(server):
    orders = set()
    for number in range(6):
        visitor = Visitor(server.port)
        visitor.enter(f"order-{number}")
        orders.add(tuple(question for question, _ in visitor.answer_all()))
    assert len(orders) > 1


def test_one_rater_cannot_read_or_write_anothers_votes(server, visitor):
    assert visitor.enter("victim")[0] == 200
    question = visitor.view()[1]["question"]
    thief = Visitor(server.port)
    assert thief.enter("thief")[0] == 200
    message = {"event": "pick", "question": question, "picked": 0}
    assert thief.answer(message, name="victim")[0] == 403
    assert thief.answer({"event": "undo"}, name="victim")[0] == 403
    assert thief.view("victim")[0] == 403
    assert thief.answer({"event": "skip", "question": question}, name="Victim")[0] == 403
    assert not [event for event in server.events() if event["rater"] == "victim"]
    status, page = thief.enter("victim")
    assert status == 403 and f"alignsd rate --run {RUN} --deck {DECK} --free victim" in page


def test_a_guessed_or_a_foreign_token_opens_nothing(server, visitor):
    visitor.enter("owner")
    thief = Visitor(server.port)
    thief.enter("other")
    (own,) = [value for name, value in thief.cookies.items() if "xsrf" not in name]
    for cookie in visitor.cookies:
        if "xsrf" not in cookie:
            thief.cookies[cookie] = own
    assert thief.view("owner")[0] == 403


def test_the_file_of_names_holds_no_token(server, visitor):
    visitor.enter("kept")
    (token,) = [value for name, value in visitor.cookies.items() if "xsrf" not in name]
    text = server.votes.with_name(f"{DECK}.raters.json").read_text()
    assert token not in text and hashlib.sha256(token.encode()).hexdigest() in text


def test_an_answer_without_the_pages_secret_is_refused(server, visitor):
    """As another site's page would send it, with the rater's cookies."""
    visitor.enter("crossed")
    body = json.dumps({"event": "undo"}).encode()
    assert visitor.ask("POST", "/r/crossed/answers", body)[0] == 403
    form = b"name=unasked"
    kind = "application/x-www-form-urlencoded"
    assert visitor.ask("POST", "/", form, Content_Type=kind)[0] == 403


def test_cookies_are_out_of_reach_of_scripts_and_of_other_sites(server, visitor):
    _, page, headers = visitor.ask("GET", "/")
    for cookie in (headers["Set-Cookie"],):
        assert "HttpOnly" in cookie and "SameSite=Strict" in cookie
        assert not cookie.startswith("_xsrf="), "the name of JupyterLab's cookie"
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert "unsafe" not in headers["Content-Security-Policy"]


def test_a_rater_goes_on_after_a_reload_a_restart_and_with_other_capitals(folder, pictures):
    first = Server(pictures, folder / "restart")
    visitor = Visitor(first.port)
    visitor.enter("Zoë")
    view = visitor.view()[1]
    picked = {"event": "pick", "question": view["question"], "picked": 1}
    _, after = visitor.answer(picked)
    assert after["number"] == 2
    assert visitor.view()[1]["question"] == after["question"]  # a reload
    code, printed = first.stop()
    assert (code, "1 rater, of whom 0 finished; 1 vote," in printed) == (0, True)
    second = Server(pictures, folder / "restart", first.port)
    try:
        assert visitor.view()[1]["question"] == after["question"]
        assert "/r/Zo%C3%AB" == f"/r/{'Zo%C3%AB'}" and visitor.view("zoë")[0] == 200
        visitor.answer_all()
    finally:
        second.stop()
    assert len(second.events()) == QUESTIONS
    assert {event["rater"] for event in second.events()} == {"Zoë"}


def test_skip_and_undo(server, visitor):
    visitor.enter("undecided")
    view = visitor.view()[1]
    assert view["can_undo"] is False
    after = visitor.answer({"event": "skip", "question": view["question"]})[1]
    assert (after["number"], after["can_undo"]) == (2, True)
    back = visitor.answer({"event": "undo", "question": after["question"]})[1]
    assert (back["number"], back["question"]) == (1, view["question"])


def test_an_answer_sent_twice_counts_once(server, visitor):
    """A phone on a weak network sends again what it does not know to have arrived."""
    visitor.enter("twice")
    message = {"event": "pick", "question": visitor.view()[1]["question"], "picked": 0}
    assert visitor.answer(message)[1]["number"] == 2
    assert visitor.answer(message)[1]["number"] == 2
    assert len([event for event in server.events() if event["rater"] == "twice"]) == 1


@pytest.mark.parametrize(
    "message",
    [
        [],
        "pick",
        None,
        {"event": "pick"},
        {"event": "pick", "question": "00", "picked": 0},
        {"event": "erase", "question": "QUESTION"},
        {"event": "pick", "question": "QUESTION", "picked": 4},
        {"event": "pick", "question": "QUESTION", "picked": -1},
        {"event": "pick", "question": "QUESTION", "picked": True},
        {"event": "pick", "question": "QUESTION", "picked": "0"},
        {"event": "pick", "question": "QUESTION", "picked": 1e308},
        {"event": "pick", "question": {"id": 1}, "picked": 0},
    ],
)
def test_what_is_no_answer_is_refused(server, message):
    visitor = Visitor(server.port)
    name = f"odd-{hashlib.sha256(repr(message).encode()).hexdigest()[:8]}"
    visitor.enter(name)
    if isinstance(message, dict) and message.get("question") == "QUESTION":
        message = message | {"question": visitor.view()[1]["question"]}
    status, answer = visitor.answer(message)
    assert status == 400 and "error" in answer
    assert not [event for event in server.events() if event["rater"] == name]


def first_line(port, request: bytes) -> bytes:
    """Return the first line of the answer to a request as written; empty if there is no answer."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        with suppress(ConnectionError):  # the server may stop reading before the end
            connection.sendall(request)
        try:
            return connection.makefile("rb").readline()
        except ConnectionError:
            return b""


def test_what_is_too_large_is_refused(server, visitor):
    visitor.enter("big")
    before = len(server.events())
    host = f"Host: 127.0.0.1:{server.port}\r\n".encode()
    body = (
        b"POST /r/big/answers HTTP/1.1\r\n" + host + b"Content-Length: 4097\r\n\r\n" + b"x" * 4097
    )
    assert first_line(server.port, body) == b"HTTP/1.1 400 Bad Request\r\n"
    head = b"GET /?" + b"x" * 20_000 + b" HTTP/1.1\r\n" + host + b"\r\n"
    assert first_line(server.port, head) == b""
    assert first_line(server.port, b"GET /progress HTTP/1.1\r\n" + host + b"\r\n").endswith(
        b"200 OK\r\n"
    )
    assert visitor.view()[0] == 200 and len(server.events()) == before


@pytest.mark.parametrize(
    "path",
    [
        "/pictures/../raters.json",
        "/pictures/..%2f..%2fvotes%2fpictures.jsonl",
        "/pictures/00/a.png",
        "/pictures/0123456789abcdef",
        "/assets/../server.py",
        "/assets/..%2fserver.py",
        "/assets/server.py",
        "/assets/%2e%2e%2fserver.py",
        "/votes/pictures.jsonl",
        "/r/..%2f..%2fetc/answers",
        "/r/%00",
        "/r/a%20b",
        "/static/chooser.js",
        "//etc/passwd",
    ],
)
def test_no_path_of_this_machine_can_be_asked_for(visitor, path):
    assert visitor.ask("GET", path)[0] == 404


def test_pictures_of_the_deck_are_served_and_their_names_are_not_told(server, visitor):
    visitor.enter("curious")
    view = visitor.view()[1]
    deck = deck_of(server)
    told = json.dumps(view)
    assert ".png" not in told and not any(
        question.id == view["question"] for question in deck.questions
    )
    assert [picture["index"] for picture in view["pictures"]] == list(range(len(view["pictures"])))
    for picture in view["pictures"]:
        status, text, headers = visitor.ask("GET", f"/pictures/{picture['file']}")
        assert (status, headers["Content-Type"]) == (200, "image/png") and "PNG" in text[:8]
        assert "immutable" in headers["Cache-Control"]


@pytest.mark.parametrize("name", ["ann", "Ann-Marie_2", "Zoë", "李雷", "हिन्दी", "Нина", "x" * 40])
def test_names_of_all_scripts(server, name):
    status, page = Visitor(server.port).enter(name)
    assert status == 200 and name in page


@pytest.mark.parametrize(
    "name", ["", " ", "a b", "a/b", "..", "<b>", "x" * 41, "-ann", "a\nb", "you", "You", "a\u200bb"]
)
def test_what_is_no_name_is_refused_and_shown_as_text(server, name):
    status, page = Visitor(server.port).enter(name)
    assert status == 400 and 'role="alert"' in page
    assert "<b>" not in page


def test_text_is_escaped(server, visitor):
    """Names and prompts come from anybody; the prompt goes as JSON and is set as text."""
    visitor.enter("text")
    prompt = visitor.view()[1]["prompt"]
    assert prompt.endswith(PROMPT)
    _, page = visitor.enter('"><script>alert(1)</script>')
    assert "<script>alert" not in page and "&lt;script&gt;alert" in page
    status, _, headers = visitor.ask("GET", "/r/text/answers")
    assert headers["Content-Type"].startswith("application/json")


def test_an_address_with_a_free_name_asks_before_it_takes_the_name(server, visitor):
    status, page, _ = visitor.ask("GET", "/r/somebody")
    assert status == 200 and "Begin as somebody" in page
    assert "somebody" not in server.votes.with_name(f"{DECK}.raters.json").read_text()


def test_the_teacher_frees_a_name_while_the_page_is_served(server, visitor):
    visitor.enter("lost-phone")
    visitor.answer({"event": "skip", "question": visitor.view()[1]["question"]})
    command = [*Server.command(), "--deck", DECK, "--free", "Lost-Phone"]
    done = subprocess.run(command, env=server.variables, capture_output=True, text=True)
    assert (done.returncode, "is free now" in done.stdout) == (0, True)
    assert visitor.view()[0] == 403
    new_phone = Visitor(server.port)
    assert new_phone.enter("lost-phone")[0] == 200
    assert new_phone.view()[1]["number"] == 2
    again = subprocess.run(
        [*command[:-1], "nobody"], env=server.variables, capture_output=True, text=True
    )
    assert "nobody has the name nobody" in again.stdout


def test_a_page_of_another_site_cannot_reach_this_machine_by_a_name_of_its_own(visitor):
    assert visitor.ask("GET", "/", Host="evil.example")[0] == 403
    assert visitor.ask("GET", "/", Host=f"localhost:{visitor.port}")[0] == 200


def test_a_port_in_use_is_told(server, pictures, folder):
    command = [*Server.command(), "--folder", str(pictures), "--port", str(server.port)]
    done = subprocess.run(command, env=server.variables, capture_output=True, text=True)
    assert done.returncode == 1
    assert f"cannot be served at 127.0.0.1, port {server.port}" in done.stderr


def test_the_file_holds_whole_lines_in_the_order_of_time(server):
    events = server.events()
    assert events and all(event["deck"] == deck_of(server).fingerprint for event in events)
    assert all(earlier["time"] <= later["time"] for earlier, later in pairwise(events))
