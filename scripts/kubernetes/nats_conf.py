"""Reads the configuration of a NATS server, as far as ours goes: maps, lists, texts, words, comments, variables.
Numbers and units stay words."""

import re

SEPARATORS = " \t\r\n,;"
WORD_ENDS = re.compile(r"[\s,;\[\]{}]")
KEY_ENDS = re.compile(r"[\s:={]")


class Malformed(Exception):
    """With the line, and what was expected there."""


class Parser:
    """One pass from left to right; `at` is where it stands."""

    def __init__(self, text):
        self.text = text
        self.at = 0
        # The maps around, from the outermost in: a variable is a key of one of them, or of the environment.
        self.scopes = []

    def document(self):
        found = self.map_until(None)
        if self.at < len(self.text):
            raise self.fault("the end of the file")
        return found

    def map_until(self, end):
        found = {}
        self.scopes.append(found)
        while self.next_item(end):
            key = self.key()
            self.skip(" \t\r\n:=")
            found[key] = self.value()
        self.scopes.pop()
        return found

    def list(self):
        found = []
        while self.next_item("]"):
            found.append(self.value())
        return found

    def next_item(self, end):
        """Moves to the next item; False, and behind the end, if there is none."""
        self.skip(SEPARATORS)
        if self.at == len(self.text):
            if end is None:
                return False
            raise self.fault(f"'{end}'")
        if self.text[self.at] == end:
            self.at += 1
            return False
        return True

    def key(self):
        if self.text[self.at] in "\"'":
            return self.quoted()
        key = self.until(KEY_ENDS)
        if not key or key == "include":
            raise self.fault("a key" if not key else "no include, which scripts/check-kubernetes does not follow")
        return key

    def value(self):
        if self.at == len(self.text):
            raise self.fault("a value")
        first = self.text[self.at]
        if first == "{":
            self.at += 1
            return self.map_until("}")
        if first == "[":
            self.at += 1
            return self.list()
        if first in "\"'":
            return self.quoted()
        word = self.until(WORD_ENDS)
        if not word:
            raise self.fault("a value")
        return self.variable(word)

    def variable(self, word):
        for scope in reversed(self.scopes):
            if word.startswith("$") and word[1:] in scope:
                return scope[word[1:]]
        return word

    def quoted(self):
        quote = self.text[self.at]
        end = self.text.find(quote, self.at + 1)
        if end < 0:
            raise self.fault(f"a closing {quote}")
        found, self.at = self.text[self.at + 1 : end], end + 1
        return found

    def until(self, ends):
        end = ends.search(self.text, self.at)
        start, self.at = self.at, end.start() if end else len(self.text)
        return self.text[start : self.at]

    def skip(self, letters):
        """Over these letters, and comments."""
        while self.at < len(self.text):
            if self.text[self.at] == "#" or self.text.startswith("//", self.at):
                end = self.text.find("\n", self.at)
                self.at = len(self.text) if end < 0 else end
            elif self.text[self.at] in letters:
                self.at += 1
            else:
                return

    def fault(self, expected):
        line = 1 + self.text.count("\n", 0, self.at)
        return Malformed(f"line {line}: expected {expected}")


def parse(text):
    return Parser(text).document()
