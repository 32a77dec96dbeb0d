import html
import string

from roofline.view.html.text import escape


def test_everything_that_means_something_in_html_is_escaped_as_the_library_does():
    assert escape(string.printable) == html.escape(string.printable)
    assert escape("&amp; \x00 <!-- é -->") == html.escape("&amp; \x00 <!-- é -->")
