// Frame of the page: header, connection, key, and the view that the address names.

import { call, connection, get, retry } from "./api.js";
import { button, h, icon, patch } from "./dom.js";
import { load, replan, sendNext, state } from "./draft.js";
import { acceptDrops, filesView } from "./files.js";
import { looksView } from "./looks.js";
import { planView } from "./plan.js";
import { closeRun, openRun, pause, reload, run, runView } from "./run.js";
import { runs, runsView, watchRuns } from "./runs.js";
import { loadServer, server } from "./server.js";
import { check, chooseTheme, settings, settingsView, theme } from "./settings.js";
import { chooseLanguage, language, t } from "./text.js";

const VIEWS = { "": ["new", "new", filesView], look: ["new", "step.look", looksView], plan: ["new", "step.plan", planView], runs: ["runs", "runs", runsView], run: ["runs", "run", runView], settings: ["settings", "settings", settingsView] };
const NAVIGATION = [["new", "#/", "plus"], ["runs", "#/runs", "list"], ["settings", "#/settings", "settings"]];

let isQueued = false, keyProblem = "";

const route = () => {
  const [, name = "", id = ""] = location.hash.split("/");
  return { name: name in VIEWS ? name : "", id };
};

function redraw() {
  if (isQueued) return;
  isQueued = true;
  requestAnimationFrame(() => {
    isQueued = false;
    draw();
  });
}

function draw() {
  const { name } = route(), [page, title, view] = VIEWS[name];
  const subject = name === "run" ? run.job?.name : "";
  document.title = `${subject || t(title)} · cloudburst`;
  patch(document.body, [
    h("a", { class: "skip", href: "#main", onclick: event => { event.preventDefault(); document.getElementById("main").focus(); } }, t("skip")),
    header(page),
    connection.isDown && h("div", { class: "offline", role: "alert" }, icon("warn"), h("span", null, t("offline", { n: connection.seconds })), button(t("try.now"), retry, { kind: "quiet" })),
    h("main", { id: "main", tabindex: "-1", key: "main" }, connection.needsKey ? keyForm() : h("div", { key: name }, view())),
    h("footer", { class: "foot" }, h("div", null, h("span", null, `cloudburst ${server.about?.version ?? ""}`), h("span", null, t("foot")))),
  ].filter(Boolean));
}

function header(page) {
  const isDark = theme() ? theme() === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  return h("header", { class: "top" }, h("div", null,
    h("a", { class: "brand", href: "#/", "aria-label": t("start.page") }, h("img", { src: "icon.svg", width: 34, height: 34, alt: "" }), h("span", null, "cloudburst")),
    h("nav", { class: "nav", "aria-label": t("pages") }, NAVIGATION.map(([name, href, symbol]) => h("a", { key: name, href, "aria-current": name === page ? "page" : null }, icon(symbol), h("span", null, t(name)), name === "runs" && runs.active > 0 && h("span", { class: "count", role: "img", "aria-label": t("active.n", { n: runs.active }) }, runs.active)))),
    h("button", { type: "button", class: "tool", lang: language === "zh" ? "en" : "zh-CN", "aria-label": language === "zh" ? "EN: switch to English" : "中文：切换到中文", onclick: () => { chooseLanguage(language === "zh" ? "en" : "zh"); redraw(); } }, language === "zh" ? "EN" : "中文"),
    h("button", { type: "button", class: "tool", "aria-label": t("light.dark"), onclick: () => chooseTheme(isDark ? "light" : "dark") }, icon("moon"))));
}

function keyForm() {
  const enter = async event => {
    event.preventDefault();
    try {
      await call("POST", "session", { key: event.target.elements.key.value.trim() });
      connection.needsKey = false;
      keyProblem = "";
      loadServer();
      load();
      arrive();
    } catch (problem) {
      keyProblem = problem.status === 401 ? t("key.wrong") : problem.message;
    }
    redraw();
  };
  return h("form", { class: "card stack key", onsubmit: enter }, h("h1", null, t("key.title")), h("p", { class: "muted" }, t("key.text")),
    h("div", { class: "field" }, h("label", { for: "key" }, t("key")), h("input", { id: "key", name: "key", type: "password", autocomplete: "current-password", required: true, "aria-invalid": String(keyProblem !== ""), "aria-describedby": "key-problem" }), h("p", { class: "small bad", id: "key-problem", role: "alert" }, keyProblem)),
    h("button", { class: "btn main" }, t("continue")));
}

/** Read what the view of the address needs. */
function arrive() {
  const { name, id } = route();
  if (name === "run") openRun(id);
  else closeRun();
  watchRuns(name === "runs");
  if (name === "settings" && settings.checks === null) check();
  countActive();
  draw();
}

async function countActive() {
  const { jobs } = await get("api/jobs?state=queued&state=running&limit=200").catch(() => ({ jobs: [] }));
  runs.active = jobs.length;
  redraw();
}

for (const part of [state, run, runs, server, settings, connection]) part.changed = redraw;
run.ended = countActive;
connection.restored = () => {
  if (!server.about) loadServer();
  if (run.id) reload();
  sendNext();
  replan();
  redraw();
};
addEventListener("visibilitychange", () => (document.hidden ? pause() : run.id && reload()));
addEventListener("hashchange", () => {
  arrive();
  scrollTo(0, 0);
  document.getElementById("main").focus({ preventScroll: true });
});
addEventListener("storage", event => {
  if (event.key === "theme") chooseTheme(event.newValue);
  if (event.key === "language") chooseLanguage(event.newValue);
  redraw();
});
chooseLanguage(language);
acceptDrops();
load();
loadServer();
arrive();
