"""A page, read as a browser reads it."""

from html.parser import HTMLParser


class Page(HTMLParser):
    """What a page holds: its tags with attributes, its text by tag, and its tables as rows of cells."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.texts, self.tables, self.open = [], [], [], []
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in {"td", "th"}:
            self.tables[-1][-1].append("")

    def handle_endtag(self, tag):
        if tag in self.open:
            while self.open.pop() != tag:
                pass

    def handle_data(self, data):
        self.texts.append((self.open[-1] if self.open else "", data))
        if self.open and {"td", "th"} & set(self.open):
            self.tables[-1][-1][-1] += data.replace("\n", " ").replace("\xa0", " ")

    @property
    def text(self):
        return " ".join(data for tag, data in self.texts if tag not in {"script", "style"})

    def rows(self, number):
        return [[" ".join(cell.split()) for cell in row] for row in self.tables[number]]
