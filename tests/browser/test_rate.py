"""The page of ``alignsd rate`` on a phone and on a desktop, in a real browser."""

import subprocess
import sys

import pytest

from alignsd.base.paths import root

jupyterlab = pytest.importorskip("browser.jupyterlab", reason="playwright is not installed")

QUESTIONS = 5
PHONE = {"viewport": {"width": 390, "height": 760}, "has_touch": True, "is_mobile": True}
TITLE = "Which picture is better?"


@pytest.fixture(scope="module")
def rating():
    """The module of tests/choose that starts ``alignsd rate``."""
    sys.path.insert(0, str(root() / "tests/choose"))
    import rating_server

    yield rating_server
    sys.path.remove(str(root() / "tests/choose"))


@pytest.fixture(scope="module")
def server(rating, tmp_path_factory):
    folder = tmp_path_factory.mktemp("rate")
    pictures = rating.write_pictures(folder / "pictures", QUESTIONS)
    server = rating.Server(pictures, folder / "out")
    yield server
    server.stop()


@pytest.fixture
def open_page(browser, server):
    """Give a function that opens an address in a new browser profile; check it in the end."""
    contexts, faults = [], []

    def open_page(path: str = "/", **options):
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(30_000)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda message: faults.append(message.text) if is_fault(message) else 0)
        page.goto(server.address + path)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert faults == []


def is_fault(message) -> bool:
    """Return whether a message of the console tells of a fault, such as a breach of the policy."""
    return message.type == "error" and "403" not in message.text


def enter(page, name: str) -> None:
    page.get_by_label("Your name").fill(name)
    page.get_by_role("button", name="Begin").click()
    page.locator(".alignsd-picture").first.wait_for()


def number(page) -> str:
    return page.locator(".alignsd-count").inner_text()


def wait_for(page, text: str) -> None:
    page.locator(".alignsd-count", has_text=text).wait_for()


def events_of(server, rater: str) -> list[dict]:
    return [event for event in server.events() if event["rater"] == rater]


def test_a_phone_chooses_by_touch_and_resumes_after_a_reload(open_page, server):
    page = open_page(**PHONE)
    enter(page, "phone")
    assert number(page) == f"1 of {QUESTIONS}"
    page.locator(".alignsd-picture").first.tap()
    wait_for(page, f"2 of {QUESTIONS}")
    prompt = page.locator(".alignsd-prompt").inner_text()
    page.reload()
    page.locator(".alignsd-picture").first.wait_for()
    assert number(page) == f"2 of {QUESTIONS}"
    assert page.locator(".alignsd-prompt").inner_text() == prompt
    for answered in range(2, QUESTIONS + 1):
        page.locator(".alignsd-picture").last.tap()
        if answered < QUESTIONS:
            wait_for(page, f"{answered + 1} of {QUESTIONS}")
    page.get_by_text("Your choices are kept.").wait_for()
    events = events_of(server, "phone")
    assert len(events) == QUESTIONS
    assert events[0]["picked"] == events[0]["shown"][0]
    assert events[-1]["picked"] == events[-1]["shown"][-1]


def test_nothing_is_wider_than_the_phone_and_pictures_are_large_enough(open_page):
    page = open_page(**PHONE)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    enter(page, "narrow")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    for index in range(page.locator(".alignsd-picture").count()):
        box = page.locator(".alignsd-picture").nth(index).bounding_box()
        assert box["width"] >= 120 and box["height"] >= 120
    skip = page.get_by_role("button", name="Skip").bounding_box()
    assert skip["height"] >= 44


def test_keys_choose_skip_and_take_back(open_page, server):
    page = open_page(viewport={"width": 1200, "height": 800})
    enter(page, "keys")
    page.keyboard.press("2")
    wait_for(page, f"2 of {QUESTIONS}")
    for key in ("x", "d", "d", "a", "b", "9"):
        page.keyboard.press(key)
    assert number(page) == f"2 of {QUESTIONS}"
    page.keyboard.press("0")
    wait_for(page, f"3 of {QUESTIONS}")
    page.keyboard.press("u")
    wait_for(page, f"2 of {QUESTIONS}")
    kinds = [event["event"] for event in events_of(server, "keys")]
    assert kinds == ["pick", "skip", "undo"]
    first = events_of(server, "keys")[0]
    assert first["picked"] == first["shown"][1] and first["seconds"] > 0


def test_a_prompt_is_shown_as_text(open_page, rating):
    page = open_page()
    enter(page, "reader")
    assert page.locator(".alignsd-prompt").inner_text().endswith(rating.PROMPT)
    assert page.locator(".alignsd-prompt b").count() == 0


def test_a_name_in_use_is_refused_with_a_way_out(open_page):
    enter(open_page(), "first")
    other = open_page()
    other.get_by_label("Your name").fill("First")
    other.get_by_role("button", name="Begin").click()
    other.get_by_text("is in use").first.wait_for()
    assert "--free First" in other.locator("main").inner_text()
    other.get_by_role("link", name="Choose another name").click()
    enter(other, "second")


def test_a_second_tab_shows_the_same_question(open_page):
    page = open_page()
    enter(page, "tabs")
    second = page.context.new_page()
    second.goto(page.url)
    second.locator(".alignsd-picture").first.wait_for()
    second.locator(".alignsd-picture").first.click()
    second.locator(".alignsd-count", has_text=f"2 of {QUESTIONS}").wait_for()
    page.locator(".alignsd-picture").first.click()  # of the question that is answered already
    wait_for(page, f"2 of {QUESTIONS}")


def test_an_answer_waits_for_a_network_that_is_away_for_a_moment(open_page, server):
    page = open_page()
    enter(page, "tunnel")
    page.evaluate(
        """() => {
            const send = window.fetch;
            window.fetch = () => { window.fetch = send; return Promise.reject(new TypeError()); };
        }"""
    )
    page.locator(".alignsd-picture").first.click()
    wait_for(page, f"2 of {QUESTIONS}")
    assert len(events_of(server, "tunnel")) == 1


def test_the_reader_is_told_when_the_server_stays_away(open_page, server):
    page = open_page()
    enter(page, "away")
    page.evaluate("() => { window.fetch = () => Promise.reject(new TypeError()); }")
    page.locator(".alignsd-picture").first.click()
    page.locator(".alignsd-error", has_text="there is no connection to the server").wait_for()
    assert number(page) == f"1 of {QUESTIONS}" and events_of(server, "away") == []


def answered(server) -> set[tuple[str, str]]:
    """Return who answered which question, without answers that were taken back."""
    last = {}
    for event in server.events():
        last[event["rater"], event["question"]] = event["event"]
    return {key for key, event in last.items() if event != "undo"}


def test_the_teacher_sees_numbers_and_no_names(open_page, server):
    rater = open_page()
    enter(rater, "secret-name")
    rater.locator(".alignsd-picture").first.click()
    wait_for(rater, f"2 of {QUESTIONS}")
    page = open_page("/progress")
    raters = {name for name, _ in answered(server)}
    assert "secret-name" in raters
    assert int(page.locator("#raters").inner_text()) == len(raters)
    votes, skips = (int(page.locator(name).inner_text()) for name in ("#picks", "#skips"))
    assert votes + skips == len(answered(server))
    assert not any(name in page.content() for name in raters)


def test_the_end_tells_how_to_read_the_votes(server, rating, tmp_path):
    """The last test: the lines that the server prints at its end are pasted into Python."""
    code, printed = server.stop()
    lines = printed.partition("To read the votes in a notebook:\n")[2].splitlines()
    script = "\n".join(line.strip() for line in lines) + "\nprint(len(votes), len(deck.questions))"
    done = subprocess.run(
        [sys.executable, "-c", script], env=server.variables, capture_output=True, text=True
    )
    assert code == 0 and done.returncode == 0, done.stderr
    rows, questions = map(int, done.stdout.split())
    assert (rows, questions) == (len(answered(server)), QUESTIONS), printed
