// The page itself: markup, style, and the script that draws it. Plain, with no library, so that it
// opens from a disk years from now.
#include <string>

#include "sim/report.h"

namespace kahuna::sim {
namespace {

constexpr std::string_view kHead = R"html(<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<style>
:root { color-scheme: light dark; --bg:#fbfaf7; --fg:#1d2328; --dim:#68727a; --line:#d9d6cd; --panel:#fff;
  --lead:#1f7a5c; --cand:#c9861a; --follow:#c3cdd4; --down:#3a3f44; --fault:#b5482f; --ok:#3b6ea8; --info:#b98a1d;
  --fail:#9aa3aa; --wit:#d0246c; --msg:#7a5fb0; --step:#2a7f8f; }
@media (prefers-color-scheme: dark) { :root { --bg:#15191c; --fg:#e4e6e3; --dim:#8d979e; --line:#2e353a; --panel:#1c2125;
  --lead:#3fb489; --cand:#e0a23a; --follow:#46525a; --down:#000; --fault:#e0705a; --ok:#6ea3de; --info:#dcb04a;
  --fail:#69737a; --wit:#ff5b9e; --msg:#a58be0; --step:#57b6c6; } }
* { box-sizing:border-box } body { margin:0; background:var(--bg); color:var(--fg); font:14px/1.45 system-ui,sans-serif }
header { padding:14px 18px 10px; border-bottom:1px solid var(--line) } h1 { font-size:17px; margin:0 0 4px }
.verdict { padding:1px 8px; border-radius:4px; color:#fff; background:var(--fault); margin-right:8px }
.verdict.PASS { background:var(--lead) } .verdict.UNKNOWN { background:var(--info) }
.reason { font-weight:600; overflow-wrap:anywhere } code, pre { font:12px/1.5 ui-monospace,monospace }
pre { white-space:pre-wrap; overflow-wrap:anywhere; margin:6px 0; color:var(--dim) }
.replay { display:flex; gap:8px; align-items:center; margin-top:6px } .replay code { background:var(--panel); border:1px solid var(--line);
  padding:3px 8px; border-radius:4px; overflow-x:auto; max-width:100%; max-height:5em }
.bar { display:flex; flex-wrap:wrap; gap:14px; align-items:center; padding:8px 18px; color:var(--dim); position:sticky; top:0;
  background:var(--bg); border-bottom:1px solid var(--line); z-index:2 } .bar label { white-space:nowrap }
button, select, input { font:inherit; color:var(--fg); background:var(--panel); border:1px solid var(--line); border-radius:4px; padding:2px 8px }
#wrap { position:relative; margin:0 } canvas { display:block; width:100%; cursor:grab } #tip { position:fixed; pointer-events:none;
  background:var(--panel); border:1px solid var(--line); border-radius:4px; padding:4px 8px; font:12px/1.4 ui-monospace,monospace;
  max-width:60ch; overflow-wrap:anywhere; display:none; z-index:3; box-shadow:0 2px 8px #0003 }
.key i { display:inline-block; width:11px; height:11px; border-radius:2px; margin:0 4px 0 10px; vertical-align:-1px }
details { padding:6px 18px } summary { cursor:pointer; color:var(--dim) } table { border-collapse:collapse; font:12px/1.6 ui-monospace,monospace }
td { padding:0 12px 0 0; vertical-align:top } tr.go { cursor:pointer } tr.go:hover td { color:var(--wit) }
</style>
)html";

constexpr std::string_view kBody = R"html(</head><body>
<header><h1><span id="verdict" class="verdict"></span><span id="reason" class="reason"></span></h1>
<code id="line"></code><pre id="details"></pre>
<div class="replay"><button id="copy">Copy</button><code id="replay"></code></div></header>
<div class="bar"><label>partition <select id="group"></select></label>
<label><input type="checkbox" id="hb"> heartbeats</label><label><input type="checkbox" id="msgs" checked> messages</label>
<label><input type="checkbox" id="wit"> only the witness</label>
<button id="all">whole run</button><button id="near">the failure</button>
<span id="span"></span><span>wheel: zoom · drag: move</span><span class="key" id="key"></span></div>
<div id="wrap"><canvas id="view"></canvas><div id="tip"></div></div>
<details id="witnesses"><summary>Witness: the operations that the judge names</summary><table id="wtable"></table></details>
<details><summary>Faults, in order</summary><table id="ftable"></table></details>
<details><summary>Choices of this run</summary><pre id="spec"></pre></details>
<details><summary>Hash checkpoints (event, hash so far)</summary><table id="ctable"></table></details>
<script>
"use strict";
const D = JSON.parse(document.getElementById("data").textContent), $ = id => document.getElementById(id);
const canvas = $("view"), g = canvas.getContext("2d"), tip = $("tip"), LABEL = 96, ROW = 24, AXIS = 26;
const css = name => getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();
const outcome = ["open", "ok", "fail", "info"], outcomeColour = ["info", "ok", "fail", "info"];
let from = D.from, to = Math.max(D.to, D.from + 1e6), lanes = [], marks = [], height = 0, C = {};
const pad = Math.max((to - from) * 0.03, 1e5); from = Math.max(0, from - pad); to += pad;

function time(ns, unit) { unit = unit || (to - from); const s = ns / 1e9;
  return unit > 2e10 ? s.toFixed(1) + "s" : unit > 2e8 ? s.toFixed(3) + "s" : s.toFixed(6) + "s"; }

// Rows for spans of one kind that overlap: each goes to the first row that is free.
function pack(items, start, end) { const ends = [], rows = [];
  for (const item of items) { let row = ends.findIndex(e => e <= start(item));
    if (row < 0) row = ends.length; if (row > 11) row = 11; ends[row] = Math.max(end(item), start(item) + (D.end / 4000)); (rows[row] = rows[row] || []).push(item); }
  return rows.filter(Boolean); }

function layout() {
  const group = +$("group").value, only = $("wit").checked; lanes = []; let y = AXIS + 4;
  const lane = (label, h, spans) => { lanes.push({label, y, h, spans}); y += h + 5; };
  D.nodes.forEach((name, node) => { const spans = []; let open = null;
    const close = at => { if (open) { open.to = at; spans.push(open); open = null; } };
    const events = D.roles.filter(r => r[1] === node && r[2] === group).map(r => [r[0], 1, r])
      .concat(D.processes.filter(p => p[1] === node).map(p => [p[0], 0, p]));
    events.sort((a, b) => a[0] - b[0] || a[1] - b[1]);
    for (const [at, isRole, e] of events) { close(at);
      if (isRole) open = {from: at, colour: ["follow", "cand", "lead"][e[3]], text: name + " " + ["follower", "candidate", "leader"][e[3]] + " in term " + e[4], label: e[3] ? "t" + e[4] : ""};
      else if (!e[2]) open = {from: at, colour: "down", text: name + " is down", label: ""};
      else open = {from: at, colour: "line", text: name + " boots", label: ""}; }
    close(D.end); lane(name, ROW, spans); lanes[lanes.length - 1].node = node; });
  if (D.steps.length) lane("script", ROW, D.steps.map((s, i) => ({from: s[0], to: s[0], next: (D.steps[i + 1] || [1e18])[0], colour: "step", text: s[1], label: s[1]})));
  pack(D.ops.filter(o => o[4]), o => o[0], o => o[1]).forEach((row, i) => lane(i ? "" : "witness", 13, row.map(o => ({from: o[0], to: o[1], colour: "wit", text: o[5], label: "", wit: 1}))));
  const kinds = [...new Set(D.faults.map(f => f[2]))].sort();
  for (const kind of kinds) lane(kind, 13, D.faults.filter(f => f[2] === kind).map(f => ({from: f[0], to: Math.min(f[0] + f[1], Math.max(f[0], D.healedFrom || D.end)), colour: "fault", text: kind + "#" + f[3] + " " + f[4], label: ""})));
  const ops = D.ops.filter(o => !only || o[4]), hosts = [...new Set(ops.map(o => o[2]))].sort((a, b) => a - b);
  for (const host of hosts) pack(ops.filter(o => o[2] === host), o => o[0], o => o[1]).forEach((row, i) =>
    lane(i ? "" : host === D.judge ? "judge" : "c" + (host + 1), 9, row.map(o => ({from: o[0], to: o[1], colour: o[4] ? "wit" : outcomeColour[o[3]], text: o[5], label: "", wit: o[4]}))));
  height = y + 8;
}

function x(at) { return LABEL + (at - from) / (to - from) * (canvas.clientWidth - LABEL); }

function draw() {
  const w = canvas.clientWidth, ratio = window.devicePixelRatio || 1;
  canvas.style.height = height + "px"; canvas.width = w * ratio; canvas.height = height * ratio; g.setTransform(ratio, 0, 0, ratio, 0, 0);
  for (const name of ["bg", "fg", "dim", "line", "panel", "lead", "cand", "follow", "down", "fault", "ok", "info", "fail", "wit", "msg", "step"]) C[name] = css(name);
  g.clearRect(0, 0, w, height); marks = []; g.font = "11px system-ui,sans-serif"; g.textBaseline = "middle";
  let step = 10 ** Math.ceil(Math.log10((to - from) / 10)); if ((to - from) / step < 4) step /= 2;
  for (let at = Math.ceil(from / step) * step; at <= to; at += step) { const px = x(at); g.fillStyle = C.line; g.fillRect(px, AXIS - 6, 1, height);
    g.fillStyle = C.dim; g.textAlign = "center"; g.fillText(time(at, step), px, AXIS / 2); }
  g.textAlign = "left";
  for (const lane of lanes) { g.save(); g.beginPath(); g.rect(LABEL, lane.y, w - LABEL, lane.h); g.clip();
    for (const s of lane.spans) { if (s.to < from || s.from > to) continue;
      const a = Math.max(x(s.from), LABEL - 2), b = Math.min(Math.max(x(s.to), a + (s.wit ? 5 : 2)), w);
      g.fillStyle = C[s.colour]; g.fillRect(a, lane.y, b - a, lane.h); marks.push([a, lane.y, b, lane.y + lane.h, s.text + "\n" + time(s.from) + (s.to > s.from ? " .. " + time(s.to) : "")]);
      const room = s.next === undefined ? b - a : Math.min(x(s.next), w) - a;  // a step's text goes on until the next step
      if (s.label && room > (s.colour === "step" ? s.label.length * 5.5 : 18)) { g.fillStyle = s.colour === "step" ? C.fg : C.bg; g.fillText(s.label, a + 4, lane.y + lane.h / 2 + 1); } }
    g.restore(); g.fillStyle = lane.node === undefined ? C.dim : C.fg; g.fillText(lane.label, 14, lane.y + lane.h / 2); }
  if ($("msgs").checked) { const group = +$("group").value, seen = D.messages.filter(m => m[3] === group && m[0] >= from && m[0] <= to && ($("hb").checked || !m[4]));
    const thin = Math.ceil(seen.length / 4000); g.lineWidth = 1;
    seen.forEach((m, i) => { if (i % thin) return; const a = lanes[m[1]], b = lanes[m[2]], px = x(m[0]), down = b.y > a.y;
      const y1 = down ? a.y + a.h : a.y, y2 = down ? b.y : b.y + b.h; g.strokeStyle = g.fillStyle = C.msg; g.globalAlpha = seen.length > 600 ? 0.35 : 0.8;
      g.beginPath(); g.moveTo(px, y1); g.lineTo(px + 3, y2); g.stroke(); g.beginPath(); g.arc(px + 3, y2, 2, 0, 7); g.fill(); g.globalAlpha = 1;
      marks.push([px - 2, Math.min(y1, y2), px + 5, Math.max(y1, y2), D.nodes[m[1]] + " → " + D.nodes[m[2]] + " " + m[5] + "\n" + time(m[0])]); }); }
  for (const [at, text] of [[D.faultsFrom, "faults begin"], [D.healedFrom, "healed"]]) { if (!at || at < from || at > to) continue; const px = x(at);
    g.strokeStyle = C.fg; g.setLineDash([4, 3]); g.beginPath(); g.moveTo(px, AXIS - 8); g.lineTo(px, height); g.stroke(); g.setLineDash([]); g.fillStyle = C.fg; g.fillText(text, px + 4, AXIS - 4); }
  $("span").textContent = time(from) + " .. " + time(to);
}

function zoom(centre, factor) { const length = Math.min(Math.max((to - from) * factor, 1e4), D.end * 1.1 + 1e6), share = (centre - from) / (to - from);
  from = centre - length * share; to = from + length; draw(); }
function show(a, b) { const margin = Math.max((b - a) * 0.04, 1e5); from = a - margin; to = b + margin; draw(); }
canvas.addEventListener("wheel", e => { if (e.shiftKey || Math.abs(e.deltaX) > Math.abs(e.deltaY)) { const by = (e.deltaX || e.deltaY) / canvas.clientWidth * (to - from); from += by; to += by; draw(); }
  else zoom(from + (e.offsetX - LABEL) / (canvas.clientWidth - LABEL) * (to - from), Math.exp(e.deltaY * 0.0015)); e.preventDefault(); }, {passive: false});
let grabbed = null;
canvas.addEventListener("pointerdown", e => { grabbed = [e.clientX, from, to]; canvas.setPointerCapture(e.pointerId); canvas.style.cursor = "grabbing"; });
canvas.addEventListener("pointerup", () => { grabbed = null; canvas.style.cursor = "grab"; });
canvas.addEventListener("pointermove", e => {
  if (grabbed) { const by = (grabbed[0] - e.clientX) / (canvas.clientWidth - LABEL) * (grabbed[2] - grabbed[1]); from = grabbed[1] + by; to = grabbed[2] + by; draw(); tip.style.display = "none"; return; }
  let hit = null; for (const m of marks) if (e.offsetX >= m[0] - 1 && e.offsetX <= m[2] + 1 && e.offsetY >= m[1] && e.offsetY <= m[3]) hit = m;
  tip.style.display = hit ? "block" : "none"; if (!hit) return; tip.textContent = hit[4]; tip.style.whiteSpace = "pre-wrap";
  tip.style.left = Math.min(e.clientX + 12, innerWidth - tip.offsetWidth - 8) + "px"; tip.style.top = Math.min(e.clientY + 14, innerHeight - tip.offsetHeight - 8) + "px"; });
canvas.addEventListener("pointerleave", () => tip.style.display = "none");
addEventListener("keydown", e => { if (e.target.tagName === "INPUT" || e.target.tagName === "SELECT") return; const by = (to - from) / 8;
  if (e.key === "ArrowLeft") { from -= by; to -= by; } else if (e.key === "ArrowRight") { from += by; to += by; }
  else if (e.key === "+") return zoom((from + to) / 2, 0.6); else if (e.key === "-") return zoom((from + to) / 2, 1.7); else return; draw(); });
addEventListener("resize", draw); matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);

function rows(table, items, cells, at) { for (const item of items) { const tr = table.insertRow(); for (const text of cells(item)) tr.insertCell().textContent = text;
  if (at) { tr.className = "go"; tr.onclick = () => { const [a, b] = at(item); show(a - 2e8, b + 2e8); scrollTo({top: 0, behavior: "smooth"}); }; } } }
$("verdict").textContent = D.verdict; $("verdict").classList.add(D.verdict); $("reason").textContent = D.reason || "nothing was violated";
$("line").textContent = D.line; $("details").textContent = D.details; $("replay").textContent = D.replay; $("spec").textContent = D.spec.split(" ").join("\n");
$("copy").onclick = () => navigator.clipboard ? navigator.clipboard.writeText(D.replay) : getSelection().selectAllChildren($("replay"));
const groups = [...new Set(D.roles.map(r => r[2]))].sort((a, b) => a - b);
for (const group of groups) $("group").add(new Option(group ? String(group) : "0 (meta)", group, false, group === D.group));
for (const [colour, text] of [["lead", "leads"], ["cand", "campaigns"], ["follow", "follows"], ["down", "down"], ["fault", "fault"], ["ok", "ok"], ["info", "outcome unknown"], ["fail", "refused"], ["wit", "witness"], ["msg", "message"]]) {
  const i = document.createElement("i"); i.style.background = "var(--" + colour + ")"; $("key").append(i, text); }
rows($("wtable"), D.ops.filter(o => o[4]), o => [time(o[0], 1), outcome[o[3]], o[5]], o => [o[0], o[1]]);
rows($("ftable"), D.faults, f => [time(f[0], 1), f[2] + "#" + f[3], f[4]], f => [f[0], f[0] + f[1]]);
rows($("ctable"), D.checkpoints, c => [c[0], c[1]]);
$("witnesses").open = D.ops.some(o => o[4]);
for (const id of ["group", "wit"]) $(id).onchange = () => { layout(); draw(); };
for (const id of ["hb", "msgs"]) $(id).onchange = draw;
$("all").onclick = () => show(0, D.end); $("near").onclick = () => show(D.from, D.to);
layout(); draw();
document.body.dataset.drawn = lanes.length + " lanes, " + marks.length + " marks";
</script></body></html>
)html";

std::string escaped(std::string_view text) {
  std::string out;
  for (char c : text) {
    if (c == '<')
      out += "&lt;";
    else if (c == '&')
      out += "&amp;";
    else
      out += c;
  }
  return out;
}

}  // namespace

std::string page_around(std::string_view title, std::string_view data) {
  std::string page(kHead);
  page += "<title>" + escaped(title) + "</title>\n<script type=\"application/json\" id=\"data\">";
  page += data;
  page += "</script>\n";
  page += kBody;
  return page;
}

}  // namespace kahuna::sim
