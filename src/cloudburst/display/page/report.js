// The report of a run, drawn from the data in its file.

import { button, h, icon, linkButton, patch } from "../../serve/page/dom.js";
import { remedyOf } from "../../serve/page/problems.js";
import { billCard, stat } from "../../serve/page/result.js";
import { STRINGS } from "../../serve/page/strings.js";
import { bill, bytes, chooseLanguage, clock, dateOf, duration, facts, forecast, kept, language, t } from "../../serve/page/text.js";
import { timeline } from "../../serve/page/timeline.js";

const PILLS = { running: "now", complete: "ok", partial: "bad", failed: "bad", budget: "warn", interrupted: "warn", open: "warn" };
const COLUMNS = { scene: "", worker: "n opt", attempts: "n opt", upload: "n opt", encode: "n", length: "n", size: "n opt" };
const MAX_ROWS = 50, SLOWEST = 20, MAX_TILES = 60, FEW_TILES = 24, MAX_CELLS_AS_TILES = 200;
const { run, title, state, version, resume, places, film, problems, report } = JSON.parse(document.getElementById("data").textContent);
const { scenes, workers, cost, predicted, wall_seconds: wall } = report;
const numbers = new Map(workers.filter(worker => worker.launched_at !== null).map((worker, index) => [worker.task, index + 1]));
const isBilled = workers.some(worker => worker.cost !== null);
const done = scenes.filter(scene => scene.video);
const total = (some, key) => some.reduce((sum, one) => sum + one[key], 0);
const shown = { rows: scenes.length <= MAX_ROWS, tiles: done.length <= MAX_TILES, playing: new Set(), seen: new Set() };

function draw() {
  document.title = `${title} · cloudburst`;
  patch(document.getElementById("tools"), tools());
  patch(document.getElementById("main"), page().filter(Boolean));
  patch(document.getElementById("foot"), [h("span", null, `cloudburst ${version}`), h("span", null, t("report.foot"))]);
}

function tools() {
  const theme = document.documentElement.dataset.theme, isDark = theme ? theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  const other = language === "zh" ? "en" : "zh";
  return [
    h("button", { type: "button", class: "tool", lang: other, "aria-label": language === "zh" ? "EN: switch to English" : "中文：切换到中文", onclick: () => { chooseLanguage(other); draw(); } }, language === "zh" ? "EN" : "中文"),
    h("button", { type: "button", class: "tool", "aria-label": t("light.dark"), onclick: () => { document.documentElement.dataset.theme = kept("theme", isDark ? "light" : "dark") ?? (isDark ? "light" : "dark"); draw(); } }, icon("moon")),
  ];
}

function page() {
  const kind = PILLS[state] ?? "";
  return [
    h("div", { class: "head" }, h("div", null,
      h("div", { class: "row" }, h("h1", null, h("bdi", null, title)), h("span", { class: `pill ${kind}` }, kind === "ok" ? icon("check", true) : kind === "bad" ? icon("warn", true) : null, t(`state.${state}`))),
      h("p", null, facts(places.map(name => t(`place.${name}`)).join(" + "), report.began_at && dateOf(report.began_at), t("run.of", { run }))))),
    h("div", { class: "stack wide" },
      figures(),
      problems.length > 0 && h("section", { class: "stack tight", "aria-labelledby": "problems" }, h("h2", { id: "problems" }, t("problems")), problems.map(problem)),
      resume && h("div", { class: "card stack tight", key: "resume" }, h("h2", null, t("next.step")), h("div", { class: "cmd" }, h("code", null, resume))),
      film && player(),
      numbers.size > 0 && h("section", { class: "card", "aria-label": t("timeline") }, timeline(report)),
      (isBilled || isComparable()) && h("div", { class: "halves" }, isBilled && billCard(report), isComparable() && comparison()),
      done.some(scene => scene.video.url) && videos(),
      scenes.length > 0 && table()),
  ];
}

function figures() {
  const retries = total(scenes, "attempts") - scenes.filter(scene => scene.attempts > 0).length;
  const sizes = [...new Set(workers.map(worker => worker.size).filter(Boolean))].join(", ");
  const length = total(done.map(scene => scene.video), "seconds"), size = total(done.map(scene => scene.video), "size");
  return h("div", { class: "card flush" }, h("dl", { class: "stats", "aria-label": t("run.state") },
    stat(t("videos"), [done.length, h("small", null, ` / ${scenes.length}`)], done.length > 0 && t("length.size", { time: duration(length), size: bytes(size) })),
    stat(t("time"), duration(wall), !report.film_started_at && isComparable() && t("predicted.only", { expected: duration(predicted.wall_seconds) })),
    stat(t("bill"), isBilled ? bill(cost.usd) : t("free"), isBilled && (cost.final ? t("bill.is.final") : t("bill.may.grow"))),
    stat(t("workers"), numbers.size, facts(sizes, retries > 0 && t("retries.n", { n: retries })))));
}

/** Return whether the forecast, which is that of the last process, was for the whole run. */
const isComparable = () => predicted !== null && state === "complete" && !scenes.some(scene => scene.skipped) && !workers.some(worker => worker.launched_at < 0);

function comparison() {
  const { seconds_low: low, seconds_high: high, usd_low, usd_high } = predicted;
  const taken = report.film_started_at ?? wall, hasRange = low !== null && high !== null;
  const time = range => t("predicted.range", { expected: duration(predicted.wall_seconds), low: duration(range[0]), high: duration(range[1]) });
  return h("section", { class: "card stack", "aria-label": t("predicted.actual") }, h("h2", null, t("predicted.actual")),
    measure(t("time"), duration(taken), taken, hasRange ? [low, high] : [predicted.wall_seconds, predicted.wall_seconds], hasRange ? time([low, high]) : t("predicted.only", { expected: duration(predicted.wall_seconds) })),
    isBilled && measure(t("bill"), bill(cost.usd), Number(cost.usd), [Number(usd_low), Number(usd_high)], t("bill.predicted", { low: forecast(usd_low), high: forecast(usd_high) })),
    taken < wall && h("p", { class: "small muted" }, t("without.film")));
}

/** Return a track with the predicted range and a mark at what was measured. */
function measure(name, text, actual, [low, high], note) {
  const end = 1.15 * Math.max(actual, high) || 1, at = value => 100 * value / end;
  return h("div", { class: "measure", key: name }, h("div", { class: "row between" }, h("span", null, name), h("b", { class: "num" }, text)),
    h("svg", { viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": "true" }, h("rect", { class: "ground", width: 100, height: 10 }), h("rect", { class: "range", x: at(low), width: Math.max(0.6, at(high) - at(low)), y: 1, height: 8 }), h("rect", { class: "mark", x: Math.max(0, at(actual) - 0.4), width: 0.8, height: 10 })),
    h("p", { class: "small muted" }, note));
}

function problem({ kind, code, message, fix, names, count }) {
  const isBad = kind !== "warning" && kind !== "tasks";
  return h("div", { class: `call ${isBad ? "bad" : ""}` }, icon("warn"), h("div", null,
    h("h3", null, t(`problem.${kind}`, { n: count })),
    language !== "en" && `fault.${code}` in STRINGS && h("p", null, t(`fault.${code}`)),
    h("p", null, h("bdi", null, message)),
    names.length > 0 && h("p", { class: "small muted" }, names.map((name, place) => [place > 0 && t("comma"), h("bdi", null, name)]), count > names.length && [t("comma"), t("and.more", { n: count - names.length })]),
    remedyOf({ code, fix })));
}

function player() {
  return h("section", { class: "card flush watch-film", "aria-label": t("film") },
    film.url ? h("video", { src: film.url, poster: film.cover, controls: true, preload: film.cover ? "none" : "metadata", playsinline: true, "aria-label": t("film") }) : null,
    h("p", { class: "row between pad" }, h("b", null, t("film")), film.url ? linkButton(h("bdi", null, film.where), film.url, { kind: "quiet" }) : h("code", null, film.where)));
}

function videos() {
  const some = shown.tiles ? done : done.slice(0, FEW_TILES);
  return h("section", { class: "stack", "aria-labelledby": "videos" },
    h("div", { class: "row between" }, h("h2", { id: "videos" }, t("videos")), done.length > MAX_TILES && more("tiles", done.length)),
    h("ol", { class: "grid" }, some.map(tile)));
}

function more(part, n) {
  const change = event => {
    shown[part] = !shown[part];
    patch(event.currentTarget.closest("section"), (part === "rows" ? table() : videos()).children);
  };
  return button(shown[part] ? t("show.fewer") : t("show.all", { n }), change, { kind: "quiet noprint" });
}

/** Return the tile of a video by its place: two names may look the same. */
function tile({ scene, video }, place) {
  const made = node => seen.observe(Object.assign(node, { place }));
  return h("li", { class: "tile", key: place },
    h("div", { class: "thumb", made }, thumb(place)),
    h("p", { class: "name", title: scene }, h("bdi", null, scene)),
    h("div", { class: "row between say-row" }, h("p", { class: "say" }, bytes(video.size)), h("a", { class: "btn quiet square noprint", href: video.url, "aria-label": t("open.video", { name: scene }) }, icon("next"))));
}

/** Return what is in a tile. Of many videos, only those seen are made: each takes a browser 0.6 ms. */
function thumb(place) {
  const { scene, video } = done[place], isSeen = shown.seen.has(place), isPlaying = shown.playing.has(place);
  const play = event => {
    const node = event.currentTarget.closest(".thumb");
    shown.playing.add(place);
    shown.seen.add(place);
    patch(node, thumb(place));
    node.querySelector("video").play();
  };
  return [
    (isSeen || done.length <= MAX_TILES || !shown.tiles) && h("video", { key: "video", src: video.cover ? video.url : `${video.url}#t=0.1`, poster: video.cover, preload: isSeen && !video.cover ? "metadata" : "none", controls: isPlaying, playsinline: true, "aria-label": scene, onerror: event => event.target.classList.add("broken") }), icon("picture"),
    !isPlaying && h("button", { type: "button", class: "play", "aria-label": t("play", { name: scene }), onclick: play }, h("span", null, icon("play"))),
    !isPlaying && h("span", { class: "len" }, clock(Math.round(video.seconds)))].filter(Boolean);
}

// Videos without a cover show their first frame once they are seen.
const seen = new IntersectionObserver(entries => {
  for (const { isIntersecting, target } of entries) {
    if (!isIntersecting) continue;
    shown.seen.add(target.place);
    patch(target, thumb(target.place));
    seen.unobserve(target);
  }
}, { rootMargin: "200px" });

function table() {
  const failed = scenes.filter(scene => !scene.video), slow = [...done].sort((one, other) => other.encode_seconds - one.encode_seconds).slice(0, SLOWEST);
  const some = shown.rows ? scenes : [...failed.slice(0, MAX_ROWS), ...slow];
  return h("section", { class: "card flush", "aria-labelledby": "scenes" },
    h("div", { class: "row between pad-title" }, h("h2", { id: "scenes" }, t("scenes")), scenes.length > MAX_ROWS && more("rows", scenes.length)),
    scenes.length > MAX_CELLS_AS_TILES && squares(),
    !shown.rows && h("p", { class: "small muted pad-line" }, t("slowest", { n: slow.length, all: scenes.length })),
    h("div", { class: "tablewrap", tabindex: "0", role: "group", "aria-label": t("scenes") }, h("table", null,
      h("thead", null, h("tr", null, Object.entries(COLUMNS).map(([name, kind]) => h("th", { class: kind }, t(`column.${name}`))), isBilled && h("th", { class: "n" }, t("bill")))),
      h("tbody", null, some.map(row)))));
}

function row(scene) {
  const { video } = scene, time = (phase, value) => (scene[`${phase}_at`] === null ? "" : duration(value));
  const cells = [numbers.get(scene.task) ?? "", scene.attempts || "", time("upload", scene.upload_seconds), time("encode", scene.encode_seconds), video && duration(video.seconds), video && bytes(video.size)];
  return h("tr", null,
    h("td", null, h("bdi", null, scene.scene), " ", video ? scene.skipped && h("span", { class: "small muted" }, t("kept")) : h("span", { class: `small ${scene.error ? "bad" : "muted"}` }, t(scene.error ? "scene.failed" : "scene.never")), video && !video.url && h("div", { class: "small muted" }, video.where)),
    cells.map((cell, place) => h("td", { class: Object.values(COLUMNS)[place + 1] }, cell)), isBilled && h("td", { class: "n" }, scene.usd === null ? "" : bill(scene.usd)));
}

function squares() {
  const longest = Math.max(...done.map(scene => scene.encode_seconds), 0.001);
  return h("div", { class: "pad-line" }, h("p", { class: "small muted" }, t("squares")),
    h("div", { class: "squares", role: "img", "aria-label": facts(t("videos.n", { n: done.length }), t("failed.n", { n: scenes.length - done.length })) },
      scenes.map(scene => h("i", { title: scene.video ? t("colon", { what: scene.scene, text: duration(scene.encode_seconds) }) : scene.scene, class: scene.video ? "" : scene.error ? "failed" : "missing", style: scene.video ? { "--v": `${Math.round(25 + 75 * scene.encode_seconds / longest)}%` } : {} }))));
}

const theme = kept("theme");
if (theme) document.documentElement.dataset.theme = theme;
document.getElementById("main").replaceChildren();
chooseLanguage(language);
draw();
