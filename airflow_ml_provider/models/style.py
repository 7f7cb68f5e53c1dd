"""The report's appearance; light and dark follow the reader's system."""

from __future__ import annotations

STYLE = """
:root {
  color-scheme: light dark;
  --page: #f6f7f9; --card: #fff; --ink: #171b22; --soft: #5b6472; --faint: #8b94a3; --line: #e3e6eb;
  --good: #12805c; --good-bg: #e3f4ec; --wait: #8f5f08; --wait-bg: #fdf1d8; --bad: #c2323c; --bad-bg: #fce8e8;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #0e1116; --card: #171b22; --ink: #e9ecf1; --soft: #a3adbb; --faint: #7a8494; --line: #2a303a;
    --good: #4cc79a; --good-bg: #12312a; --wait: #e5b454; --wait-bg: #362b14;
    --bad: #ff7b80; --bad-bg: #3c1a1e;
  }
}
* { box-sizing: border-box }
body {
  margin: 0; background: var(--page); color: var(--ink); -webkit-font-smoothing: antialiased;
  font: 15px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif;
}
main { max-width: 920px; margin: 0 auto; padding: 40px 20px 64px }
header { display: flex; flex-wrap: wrap; align-items: flex-end; justify-content: space-between; gap: 12px }
h1 { font-size: 26px; line-height: 1.2; margin: 0; letter-spacing: -.02em; overflow-wrap: anywhere }
h2 { font-size: 15px; font-weight: 600; margin: 0 0 18px }
p { margin: 0 }
.soft, .note { color: var(--soft) }
.note { font-size: 13px; margin-top: 14px }
section {
  background: var(--card); border: 1px solid var(--line); border-radius: 12px;
  padding: 22px 24px; margin-top: 16px;
}
.good { --tone: var(--good); --tone-bg: var(--good-bg) }
.wait { --tone: var(--wait); --tone-bg: var(--wait-bg) }
.bad { --tone: var(--bad); --tone-bg: var(--bad-bg) }
.verdict { background: var(--tone-bg); border-color: transparent; margin-top: 20px }
.verdict strong { display: block; font-size: 22px; letter-spacing: -.01em; color: var(--tone) }
.verdict .reason { margin-top: 12px; font-size: 16px; overflow-wrap: anywhere }
.badge {
  display: inline-block; min-width: 64px; white-space: nowrap; text-align: center;
  padding: 1px 8px; border-radius: 99px;
  font-size: 12px; font-weight: 600; color: var(--tone); background: var(--tone-bg);
}
.figures {
  display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 18px; margin-bottom: 26px;
}
.figures b { display: block; font-size: 26px; font-weight: 650; letter-spacing: -.02em; line-height: 1.3 }
.figures b, .num { font-variant-numeric: tabular-nums }
.figures span { font-size: 13px; color: var(--soft) }
table { border-collapse: collapse; width: 100% }
td, th { text-align: left; padding: 9px 16px 9px 0; vertical-align: top; border-top: 1px solid var(--line) }
td { overflow-wrap: anywhere }
tr:first-child > * { border-top: 0 }
td:last-child, th:last-child { padding-right: 0 }
th { font-weight: 500; color: var(--soft) }
.num { text-align: right }
code { font: 13px/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; overflow-wrap: anywhere }
svg {
  display: block; width: 100%; height: auto; overflow: visible;
  font: 12px system-ui, -apple-system, "Segoe UI", sans-serif;
}
svg text { fill: var(--soft) }
svg .strong { fill: var(--ink); font-weight: 600 }
footer { margin-top: 20px; font-size: 13px; color: var(--soft) }
@media (max-width: 560px) { svg { font-size: 20px } }
""".strip()
"""For a ``<style>`` element."""
