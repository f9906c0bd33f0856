"""The page of a review as a person sees it, in a real browser."""

from chromium import width

KEY = {"left": "\ue012", "up": "\ue013", "right": "\ue014", "down": "\ue015", "enter": "\ue007", "escape": "\ue00c"} | {
    "home": "\ue011",
    "end": "\ue010",
}


class Page:
    """The page of a review as a person sees it."""

    def __init__(self, browser, desk):
        self.browser, self.desk = browser, desk
        width(browser, 1280)
        browser.get_log("browser")
        self.load()

    def load(self):
        self.browser.get(self.desk.server.address)
        self.wait("return document.querySelector('#grid > li, #empty:not([hidden])') !== null")

    def wait(self, script, *, still=True):
        """Wait until a script is true and, usually, the server has answered."""
        from selenium.webdriver.support.wait import WebDriverWait

        idle = "!('busy' in document.body.dataset) && !('later' in document.body.dataset)" if still else "true"
        WebDriverWait(self.browser, 20, 0.02).until(
            lambda browser: browser.execute_script(f"return {idle} && (() => {{ {script} }})()")
        )

    def find(self, selector):
        return self.browser.find_element("css selector", selector)

    def click(self, selector):
        self.find(selector).click()
        self.wait("return true")

    def press(self, keys):
        self.browser.switch_to.active_element.send_keys(keys)
        self.wait("return true")

    def said(self):
        return self.find("#said").text

    def order(self):
        tiles = "[...document.querySelectorAll('#grid > li')]"  # asked at once: tiles come and go
        return self.browser.execute_script(f"return {tiles}.map((one) => Number(one.dataset.image))")

    def focus(self):
        self.wait("return 'image' in document.activeElement.dataset")
        return int(self.browser.switch_to.active_element.get_attribute("data-image"))

    def flag(self, image):
        flags = self.browser.find_elements("css selector", f"{tile(image)} .flag")
        return flags[0].text if flags else ""


def tile(image):
    return f"#grid > [data-image='{image}']"


def label(image, name):
    return f"{tile(image)} [data-label='{name}']"
