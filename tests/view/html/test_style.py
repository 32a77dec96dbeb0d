from roofline.view.html.style import style_sheet


def test_light_and_dark_and_nothing_outside_our_class():
    text = style_sheet()
    assert "prefers-color-scheme:dark" in text
    for page in ('[data-jp-theme-light="false"] .roofline', "body.vscode-dark .roofline", "html[theme=dark] .roofline"):
        assert page in text
    rules = [rule for rule in text.split("\n")[1:-1] if rule]
    assert all(rule.startswith(".roofline") for rule in rules)
