"""The style sheet of every piece: scoped to its class, light and dark, after the page, the notebook or the system."""

from __future__ import annotations

CLASS = "roofline"
_LIGHT = "--ink:#1a1a1a;--soft:#5f6368;--line:#dadce0;--room:#eceff1;--paper:#fff;--bad:#b3261e;color-scheme:light"
_DARK = "--ink:#e8eaed;--soft:#a5abb1;--line:#4a4d51;--room:#3a3d41;--paper:#1f2023;--bad:#ff8a80;color-scheme:dark"
# how JupyterLab, VS Code and Colab say what they show
_LIGHT_PAGES = ('[data-jp-theme-light="true"]', "body.vscode-light", "html[theme=light]")
_DARK_PAGES = ('[data-jp-theme-light="false"]', "body.vscode-dark", "html[theme=dark]")
_RULES = """
.roofline{color:var(--ink);font:14px/1.45 system-ui,-apple-system,"Segoe UI",sans-serif;max-width:60em}
.roofline h3{font-size:1em;font-weight:600;margin:0 0 .1em}
.roofline .big{font-size:1.7em;font-weight:650;line-height:1.2;margin:0}
.roofline .soft,.roofline caption,.roofline th,.roofline summary{color:var(--soft)}
.roofline .bad{color:var(--bad)}
.roofline section{margin:0 0 1em}
.roofline dl{display:grid;grid-template-columns:max-content 1fr;gap:.1em 1em;margin:.5em 0 0}
.roofline dt{color:var(--soft)}.roofline dd{margin:0}
.roofline svg{display:block;width:100%;overflow:visible}
.roofline .key{display:flex;flex-wrap:wrap;gap:.1em 1.2em;list-style:none;margin:.4em 0 0;padding:0;font-size:.92em}
.roofline .key i{display:inline-block;width:.75em;height:.75em;border-radius:2px;margin-right:.4em}
.roofline table{border-collapse:collapse;font-size:.92em;margin:0;background:none}
.roofline caption{text-align:left;min-width:18em;padding:0 0 .3em;font-weight:600}
.roofline th,.roofline td{padding:.15em .9em .15em 0;text-align:left;vertical-align:top;border:0;background:none}
.roofline thead th{border-bottom:1px solid var(--line);font-weight:500}
.roofline .r{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
.roofline .scroll{overflow-x:auto}
.roofline ul.notes{margin:.3em 0 0;padding-left:1.2em}
"""


def style_sheet() -> str:
    """The ``<style>`` element that one fragment or page needs, once."""

    def on(pages: tuple[str, ...], variables: str) -> str:
        return f"{','.join(f'{page} .{CLASS}' for page in pages)}{{{variables}}}"

    return (
        f"<style>.{CLASS}{{{_LIGHT}}}@media(prefers-color-scheme:dark){{.{CLASS}{{{_DARK}}}}}"
        f"{on(_LIGHT_PAGES, _LIGHT)}{on(_DARK_PAGES, _DARK)}{_RULES}</style>"
    )
