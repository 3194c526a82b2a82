# SPDX-License-Identifier: Apache-2.0
"""The web pages in a real browser: logging in, handing a task in, watching it, stopping it; and that the console stays clean."""
import contextlib
import os
import pathlib
import shutil

import pytest

from conftest import skip
from harness import waiting
from harness.rest import Rest, port_of, submit, wait

SLEEP = "print('up', flush=True)\nimport time; time.sleep(600)"
COUNTING = "import time\nfor i in range(600):\n    print('line', i, flush=True)\n    time.sleep(0.05)"
HOSTILE = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
PAGES = ("/dashboard", "/tasks", "/new", "/monitor", "/logs", "/settings")


@pytest.fixture(scope="module")
def driver():
    with contextlib.suppress(ImportError):
        from selenium import webdriver
        from selenium.webdriver.chrome.options import Options
        from selenium.webdriver.chrome.service import Service
    chromium, chromedriver = shutil.which("chromium"), shutil.which("chromedriver")
    if "webdriver" not in locals() or not chromium or not chromedriver:
        skip("no Chromium with chromedriver and python3-selenium")
    options = Options()
    options.binary_location = chromium
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--window-size=1280,900", "--lang=en"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    made = webdriver.Chrome(service=Service(chromedriver), options=options)
    made.set_page_load_timeout(60)
    yield made
    made.quit()


class Browser:
    """One node's pages."""

    def __init__(self, driver, port):
        self.driver, self.base = driver, f"http://localhost:{port}"
        driver.delete_all_cookies()
        driver.get_log("browser")

    def open(self, path):
        self.driver.get(self.base + path)

    def text(self):
        return self.driver.execute_script("return document.body.innerText")

    def shows(self, *words, seconds=30):
        waiting.wait_until(lambda: all(word in self.text() for word in words), f"{words} in {self.text()!r}", seconds)

    def find(self, selector, text=""):
        """The first element of the selector whose text this is; waits for it."""
        found = []

        def there():
            found[:] = [e for e in self.driver.find_elements("css selector", selector) if not text or e.text.strip() == text]
            return bool(found)

        waiting.wait_until(there, f"{selector} {text}", 30)
        return found[0]

    def click(self, selector, text=""):
        self.find(selector, text).click()

    def type(self, selector, text):
        field = self.find(selector)
        field.clear()
        field.send_keys(text)

    def complaints(self):
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]


@pytest.fixture(scope="module")
def shared(module_maker):
    return module_maker(authenticated=False, web=True, web_port=0, max_concurrent_tasks=3).start()


@pytest.fixture
def browser(driver, shared):
    made = Browser(driver, port_of(shared))
    yield made
    assert made.complaints() == []


@pytest.fixture
def rest(shared):
    return Rest(port_of(shared))


def screenshot(driver, request, name):
    """Kept beside the build, for whoever wants to look."""
    folder = pathlib.Path(request.config.getoption("--build")) / "screenshots"
    folder.mkdir(exist_ok=True)
    driver.save_screenshot(os.fspath(folder / f"{name}.png"))


def test_every_page_in_both_themes_and_widths(browser, rest, request):
    wait(rest, submit(rest, "print('hello')"))
    for theme in ("light", "dark"):
        for width in (1440, 390):
            browser.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500})
            for page in PAGES:
                browser.open(page)
                browser.driver.execute_script("localStorage.setItem('theme', arguments[0])", theme)
                browser.open(page)
                browser.find("main h1")
                browser.find(f'html[data-theme="{theme}"]')
                assert browser.driver.execute_script("return document.documentElement.scrollWidth") <= width, f"{page} is wider than the screen"
                screenshot(browser.driver, request, f"{page.strip('/')}-{theme}-{width}")
    browser.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_the_sample_task(browser):
    browser.open("/")
    browser.click("button", "Run a sample task")
    browser.shows("step 1 of 5")
    browser.shows("Completed", '"answer": 45')


def test_a_task_of_the_form(browser):
    browser.open("/tasks")
    browser.click("a", "New task")
    browser.type("textarea[name=source]", "print('by hand')")
    browser.driver.execute_script("document.querySelector('details').open = true")
    browser.type("input[name=task_id]", "from-the-form")
    browser.type("textarea[name=labels]", "team=red")
    browser.click("button[type=submit]", "Hand in")
    browser.shows("from-the-form", "by hand", "Completed", "team=red")
    assert browser.driver.current_url.endswith("/tasks/from-the-form")


def test_what_the_node_says_of_a_bad_task(browser):
    browser.open("/new")
    browser.driver.execute_script("document.querySelector('details').open = true")
    browser.type("textarea[name=labels]", "no sign")
    browser.click("button[type=submit]", "Hand in")
    browser.shows("is not of the form NAME=VALUE")
    browser.type("textarea[name=labels]", "hivemind.own=1")
    browser.click("button[type=submit]", "Hand in")
    browser.shows("That did not work: ", "hivemind.own")
    browser.driver.get_log("browser")  # the refusal


def test_output_that_grows_and_a_task_that_is_stopped(browser, rest):
    task = submit(rest, COUNTING)
    browser.open(f"/tasks/{task}")
    browser.shows("line 3")
    browser.shows("line 20")
    browser.click("button", "Pause")
    browser.shows("Paused")
    browser.click("button", "Go on")
    browser.shows("Runs")
    browser.click("button", "Stop")
    browser.click("dialog button.danger")
    browser.shows("Stopped")
    browser.click("button", "Run again")
    browser.shows("Repeats")
    again = browser.driver.current_url.rpartition("/")[2]
    assert again != task
    rest.post(f"/api/v1/tasks/{again}/stop")


def test_the_list_follows_what_happens(browser, rest):
    browser.open("/tasks?show=active")
    browser.shows("Tasks")
    task = submit(rest, SLEEP)
    browser.shows(task)
    rest.post(f"/api/v1/tasks/{task}/stop")
    waiting.wait_until(lambda: task not in browser.text())
    browser.click(".tabs button", "Ended")
    browser.shows(task, "Stopped")


def test_searching_and_scrolling_a_long_output(browser, rest):
    task = submit(rest, "for i in range(30000):\n    print('number', i)")
    wait(rest, task)
    browser.open(f"/tasks/{task}")
    browser.shows("number 5")
    assert browser.driver.execute_script("return document.querySelectorAll('.line').length") < 200, "only what is seen is in the document"

    def scrolled():
        browser.driver.execute_script("const log = document.querySelector('.log'); log.scrollTop = log.scrollHeight")
        return "number 29999" in browser.text()

    waiting.wait_until(scrolled, seconds=30)
    browser.type("input[type=search]", "number 1234")
    browser.shows("11 lines", "number 12345")


def test_hostile_texts_are_texts(browser, rest):
    task = submit(rest, f"print({HOSTILE!r})\nresult = {HOSTILE!r}", labels={"x": HOSTILE[:200]})
    wait(rest, task)
    for page in (f"/tasks/{task}", "/tasks", "/dashboard"):
        browser.open(page)
        browser.shows(task)
        assert "HiveMind Worker" in browser.driver.title
    browser.open(f"/tasks/{task}")
    browser.shows("<script>document.title='owned'</script>")


def test_the_other_language(browser):
    browser.open("/dashboard")
    browser.driver.execute_script("localStorage.setItem('language', 'zh-TW')")
    browser.open("/dashboard")
    browser.shows("儀表板", "執行範例任務")
    assert browser.driver.execute_script("return document.documentElement.lang") == "zh-TW"
    browser.driver.execute_script("localStorage.removeItem('language')")


def test_names_for_who_does_not_see(browser, rest):
    """Every control has a name, each page one main heading, and nothing changes the order of the keys."""
    wait(rest, submit(rest))
    for page in PAGES:
        browser.open(page)
        browser.find("main h1")
        nameless = browser.driver.execute_script("""
            return [...document.querySelectorAll('button, a, input, select, textarea')].filter(e => {
                const label = e.closest('label') || (e.id && document.querySelector(`label[for="${e.id}"]`));
                return !(e.getAttribute('aria-label') || e.textContent.trim() || (label && label.textContent.trim()));
            }).map(e => e.outerHTML)""")
        assert nameless == [], page
        assert len(browser.driver.find_elements("css selector", "h1")) == 1, page
        assert browser.driver.execute_script("return document.querySelectorAll('[tabindex]:not([tabindex=\"0\"]):not([tabindex=\"-1\"])').length") == 0


def luminance(colour):
    """WCAG 2.1, relative luminance."""
    parts = [int(colour[i:i + 2], 16) / 255 for i in (1, 3, 5)]
    return sum(weight * (part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4) for weight, part in zip((0.2126, 0.7152, 0.0722), parts))


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_contrast(browser, theme):
    """Text of every colour on all that it stands on: 4.5 to 1."""
    browser.open("/dashboard")
    pairs = [("text", "page"), ("text", "panel"), ("text", "hover"), ("text", "quiet-bg"), ("text-2", "page"), ("text-2", "panel"), ("text-2", "hover"),
             ("text-2", "quiet-bg"), ("accent", "panel"), ("accent", "info-bg"), ("accent-text", "accent"), ("good", "good-bg"), ("warn", "warn-bg"), ("bad", "bad-bg"),
             ("bad", "page"), ("bad", "panel"), ("warn", "panel")]
    value = browser.driver.execute_script("""
        document.documentElement.dataset.theme = arguments[0];
        const style = getComputedStyle(document.documentElement);
        return Object.fromEntries(arguments[1].flat().map(name => [name, style.getPropertyValue('--' + name).trim()]))""", theme, pairs)
    for text, ground in pairs:
        high, low = sorted((luminance(value[text]), luminance(value[ground])), reverse=True)
        assert (high + 0.05) / (low + 0.05) >= 4.5, f"{text} on {ground}: {(high + 0.05) / (low + 0.05):.2f}"


def test_a_node_that_comes_back(driver, make_node):
    node = make_node(authenticated=False, web=True, web_port=0).start()
    port = port_of(node)
    browser = Browser(driver, port)
    browser.open("/tasks")
    browser.shows("No tasks here.")
    node.stop()
    browser.shows("The node does not answer")
    node.settings["web_port"] = port
    node.start()
    task = submit(Rest(port))
    browser.shows(task)
    waiting.wait_until(lambda: "The node does not answer" not in browser.text(), seconds=30)


def test_what_an_administrator_sees(driver, guarded, pb, stubs):
    stubs.grpc.AccountServiceStub(guarded.channel).SetPassword(pb.SetPasswordRequest(user="admin", new_password="password of admin"))
    browser = Browser(driver, port_of(guarded))
    browser.open("/settings")
    browser.type("input[name=user]", "admin")
    browser.type("input[name=password]", "password of admin")
    browser.click("button[type=submit]")
    browser.shows("Users", "vic", "Latest acts", "user.password")
    browser.type("form input[name=name][pattern]", "carl")
    browser.click("button", "Add a user")
    browser.shows("carl")
    waiting.wait_until(lambda: "user.add carl" in browser.text())
    browser.open("/logs")
    browser.shows("ready: listening on")
    browser.click("button", "Log out")
    browser.shows("Log in")


def test_login(driver, guarded):
    browser = Browser(driver, port_of(guarded))
    browser.open("/tasks")
    browser.shows("Log in")
    assert "Dashboard" not in browser.text()
    browser.type("input[name=user]", "ann")
    browser.type("input[name=password]", "wrong")
    browser.click("button[type=submit]")
    browser.shows("User and password do not fit together.")
    browser.type("input[name=password]", "password of ann")
    browser.click("button[type=submit]")
    browser.shows("ann, submitter", "Tasks", "No tasks here.")
    browser.open("/settings")
    browser.shows("Sessions and tokens", "session ")
    browser.open("/logs")
    browser.shows("it is for operators")
    rest = Rest(port_of(guarded))
    rest.cookie = "hivemind_session=" + driver.get_cookie("hivemind_session")["value"]
    assert rest.post("/logout")[0] == 200, "the session ends behind the page's back"
    browser.click("nav a", "Tasks")
    browser.shows("The session is over")
    browser.type("input[name=user]", "ann")
    browser.type("input[name=password]", "password of ann")
    browser.click("button[type=submit]")
    browser.shows("ann, submitter")
    browser.click("button", "Log out")
    browser.shows("Log in")
    assert driver.get_cookie("hivemind_session") is None
