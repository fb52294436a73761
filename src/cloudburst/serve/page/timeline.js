// What each worker did when: one lane for each worker, drawn as SVG.

import { h } from "./dom.js";
import { clock, duration, facts, t } from "./text.js";

const WIDTH = 960, LEFT = 92, LANE = 28, ROW = 16, GAP = 12, TOP = 30, MAX_LANES = 40;
const OVERLAP = 0.2; // seconds by which the times of two encodes in one slot may be wrong
const PHASES = [["upload", "upload_at"], ["encode", "encode_at"], ["download", "download_at"]];

const phasesOf = scene => PHASES.filter(([, from]) => (scene[from] ?? null) !== null).map(([kind, from]) => ({ scene, kind, start: scene[from], stop: scene[from] + scene[`${kind}_seconds`] }));

/** Return the phases of a worker's scenes in rows, in which the encodes do not overlap. */
function rowsOf(scenes) {
  const rows = [], begun = scenes.map(phasesOf).filter(phases => phases.length > 0);
  const parts = begun.map(phases => ({ phases, encode: phases.find(({ kind }) => kind === "encode") ?? phases[0] }));
  for (const { phases, encode } of parts.sort((one, other) => one.encode.start - other.encode.start)) {
    let row = rows.find(({ until }) => until <= encode.start + OVERLAP);
    if (!row) rows.push(row = { phases: [] });
    row.until = encode.stop;
    row.phases.push(...phases);
  }
  return rows.map(({ phases }) => phases);
}

export function timeline({ workers, scenes, wall_seconds: wall, film_started_at: joined = null, film_finished_at: film = null }) {
  const shown = workers.filter(worker => worker.launched_at !== null), size = Math.ceil(shown.length / MAX_LANES);
  const end = Math.max(wall, film ?? 0, ...shown.map(worker => worker.stopped_at ?? 0), 1);
  const x = seconds => LEFT + (Math.max(0, seconds) / end) * (WIDTH - LEFT - 8);
  const step = [1, 2, 5, 10, 20, 60, 120, 300, 600, 1800, 3600].find(one => end / one <= 8) ?? 3600 * Math.ceil(end / 28_800);
  const ticks = Array.from({ length: Math.floor(end / step) + 1 }, (_, place) => place * step);
  let height = TOP;
  const bar = (from, to, y, high, kind, title, label) => from !== null && to !== null && to > from && [
    h("rect", { class: kind, x: x(from), y, width: Math.max(1, x(to) - x(from) - 1), height: high, rx: 4 }, h("title", null, title)),
    label && x(to) - x(from) > 7 * label.length + 10 && h("text", { class: "in", x: x(from) + 6, y: y + high / 2 + 4 }, label)];
  const who = name => h("text", { class: "who", x: 0, y: height + 18 }, name);
  const lane = worker => {
    const own = scenes.filter(scene => scene.task === worker.task && !scene.skipped), rows = size > 1 ? [own.flatMap(phasesOf)] : rowsOf(own);
    const y = height, until = worker.stopped_at ?? wall, high = size > 1 ? Math.max(2, LANE / size) : Math.max(LANE, rows.length * ROW), row = high / Math.max(1, rows.length);
    height += high;
    return [
      bar(worker.ready_at ?? worker.launched_at, until, y, high, "idle", t("phase.idle")),
      bar(worker.launched_at, worker.ready_at ?? until, y, high, worker.error && worker.ready_at === null ? "lost" : "start", t("colon", { what: t("phase.start"), text: duration((worker.ready_at ?? until) - worker.launched_at) })),
      rows.map((some, at) => some.sort((one, other) => (one.kind === "encode") - (other.kind === "encode")).map(({ scene, kind, start, stop }) =>
        bar(start, stop, y + at * row, row - (rows.length > 1), scene.error ? "lost" : kind, t("colon", { what: scene.scene, text: facts(t(`phase.${kind}`), duration(stop - start)) }), kind === "encode" && size === 1 && scene.scene)))];
  };
  const lanes = [];
  for (let first = 0; first < shown.length; first += size) {
    const some = shown.slice(first, first + size);
    lanes.push(who(some.length > 1 ? `${first + 1}–${first + some.length}` : t("worker.n", { n: first + 1 })), some.map(lane));
    height += GAP;
  }
  if (joined !== null) {
    lanes.push(who(t("film")), bar(joined, film ?? wall, height, LANE, "film", t("colon", { what: t("phase.film"), text: duration((film ?? wall) - joined) })));
    height += LANE + GAP;
  }
  const keys = ["start", "upload", "encode", "download", "idle", "lost", ...(joined === null ? [] : ["film"])];
  return [
    h("div", { class: "row between" }, h("h2", null, t("timeline")), h("div", { class: "keys" }, keys.map(kind => h("span", { key: kind }, h("i", { class: kind === "idle" ? "hatch" : kind }), t(`phase.${kind}`))))),
    h("div", { class: "timeline", tabindex: "0", role: "region", "aria-label": t("timeline") }, h("svg", { viewBox: `0 0 ${WIDTH} ${height}`, role: "img", "aria-label": t("timeline.of", { n: shown.length, time: duration(wall) }) },
      h("defs", null, h("pattern", { id: "hatch", width: 6, height: 6, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" }, h("rect", { class: "ground", width: 6, height: 6 }), h("rect", { class: "stripe", width: 1, height: 6 }))),
      ticks.map(at => [h("path", { class: "tick", d: `M${x(at)} 22V${height}` }), h("text", { x: x(at), y: 14, "text-anchor": at ? "middle" : "start" }, clock(at))]), lanes)),
  ];
}
