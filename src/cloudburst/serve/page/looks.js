// Second step: the look, from the options that the server describes, with a preview by the renderer.

import { call } from "./api.js";
import { button, dropdown, field, h, icon, linkButton, segments, toggle } from "./dom.js";
import { optionsBody, readyScenes, save, sceneBody, state, waiting } from "./draft.js";
import { choose } from "./files.js";
import { go, steps, thumb } from "./parts.js";
import { describe } from "./problems.js";
import { server } from "./server.js";
import { named, number, t } from "./text.js";

const MAIN = new Set(["size", "fit", "effects", "motion_amount", "subtitle_position", "font_size", "text_color", "background_box", "highlight", "music", "music_volume", "music_ducking", "watermark", "watermark_position", "watermark_width", "watermark_opacity"]);
const HIDDEN = new Set(["cover", "caption"]); // the page shows covers, and presets are captions
const SIZES = ["1080p", "720p", "4k", "landscape", "portrait", "square", "4:5"];
const NINE = ["top-left", "top", "top-right", "left", "center", "right", "bottom-left", "bottom", "bottom-right"];
const COLOURS = ["#ffffff", "#ffd84a", "#9be7ff", "#ffb3c7"];
const FRAME_DELAY = 120; // milliseconds without a change, after which a frame is drawn
const FRAME_WIDTH = 960;

const preview = { scene: "", at: 1.5, url: "", seconds: 0, isDrawing: false, problem: null, onlyScene: false };
let drawn = "", timer = 0, request = null;

export function looksView() {
  const scenes = readyScenes(), { looks, about } = server;
  if (!looks || scenes.length === 0) return [steps(1), h("p", { class: "muted" }, t(scenes.length ? "loading" : "no.scenes"))];
  const scene = scenes.find(({ name }) => name === preview.scene) ?? scenes[0];
  preview.scene = scene.name;
  const seconds = state.plan?.scenes.find(one => one.scene === scene.name)?.seconds ?? scene.audio?.seconds ?? scene.duration ?? 5;
  if (about?.preview) followChanges(scene, seconds);
  const groups = [...new Set(looks.options.map(option => option.group))];
  return [
    steps(1),
    h("h1", { class: "sr" }, t("step.look")),
    h("div", { class: "looks" },
      h("form", { class: "card flush", "aria-label": t("step.look"), onsubmit: event => event.preventDefault() },
        h("div", { class: "stack pad" },
          h("fieldset", null, h("legend", null, t("start.from")), h("div", { class: "presets" }, Object.entries({ standard: {}, ...looks.presets }).map(preset))),
          segments("scope", t("scope"), [["all", t("scope.all")], ["one", t("scope.one", { name: scene.name })]], preview.onlyScene ? "one" : "all", value => { preview.onlyScene = value === "one"; state.changed(); })),
        groups.map((group, place) => groupOf(group, scene, place < 3))),
      about?.preview && stage(scene, scenes, seconds)),
    h("div", { class: "dock" }, h("p", null, about?.preview ? t("preview.exact") : ""), linkButton(t("back"), "#/"), button(t("next.plan"), () => go("#/plan"), { kind: "main" })),
  ];
}

function preset([name, options]) {
  const choosePreset = () => {
    const files = Object.entries(state.draft.options).filter(([, value]) => value?.name !== undefined);
    Object.assign(state.draft, { preset: name, options: { ...Object.fromEntries(files), ...options } });
    save();
  };
  return h("label", { class: "preset", key: name }, h("input", { type: "radio", name: "preset", value: name, checked: (state.draft.preset ?? "standard") === name, onchange: choosePreset }), h("span", { class: `sample ${name}`, "aria-hidden": "true" }, h("b", null, t("sample.one")), " ", h("i", null, t("sample.two"))), h("span", null, named("preset", name)));
}

function groupOf(group, scene, isOpen) {
  const options = server.looks.options.filter(option => option.group === group && !HIDDEN.has(option.name));
  const [main, more] = [options.filter(({ name }) => MAIN.has(name)), options.filter(({ name }) => !MAIN.has(name))];
  const changed = options.filter(({ name }) => name in chosenOptions(scene)).length;
  return h("details", { class: "group", key: group, open: isOpen },
    h("summary", null, icon("next", true), named("group", group), changed > 0 && h("span", { class: "now-value" }, t("changed.n", { n: changed }))),
    h("div", null, main.map(option => control(option, scene)), more.length > 0 && (main.length ? h("details", { class: "more" }, h("summary", null, t("more.options", { n: more.length })), h("div", null, more.map(option => control(option, scene)))) : more.map(option => control(option, scene)))));
}

const chosenOptions = scene => (preview.onlyScene ? scene.options : state.draft.options);

function control(option, scene) {
  const { name, kind, text } = option, chosen = chosenOptions(scene);
  const value = chosen[name] ?? state.draft.options[name] ?? option.default;
  const change = next => {
    if (next === undefined || next === "") delete chosen[name];
    else chosen[name] = next;
    save();
  };
  const id = `option-${name}`, label = named("option", name), choices = name === "size" ? SIZES : option.choices;
  const labels = one => [one, named("choice", one)];
  const attributes = { id, title: text };
  if (kind === "flag" && option.default === null) {
    const answers = [["", t("automatic")], ["yes", t("yes")], ["no", t("no")]];
    return h("div", { class: "field" }, h("span", { class: "label" }, label), segments(name, label, answers, value === null ? "" : value ? "yes" : "no", one => change(one === "" ? undefined : one === "yes")));
  }
  if (kind === "flag") return toggle(label, Boolean(value), change, { title: text });
  if (kind === "file") return fileControl(option, label, value, change);
  if (kind === "list" && choices) {
    const flip = one => change((value ?? []).includes(one) ? value.filter(other => other !== one) : [...(value ?? []), one]);
    return h("fieldset", { class: "field" }, h("legend", null, label), h("div", { class: "chips" }, choices.map(one => h("label", null, h("input", { type: "checkbox", checked: (value ?? []).includes(one), onchange: () => flip(one) }), h("span", null, named("choice", one))))));
  }
  if (choices?.length === 9 && NINE.every(one => choices.includes(one))) {
    return h("fieldset", { class: "field" }, h("legend", null, label), h("div", { class: "nine" }, NINE.map(one => h("label", { title: named("choice", one) }, h("input", { type: "radio", name, checked: value === one, "aria-label": named("choice", one), onchange: () => change(one) }), h("i")))));
  }
  if (choices && choices.length <= 3) return h("div", { class: "field" }, h("span", { class: "label" }, label), segments(name, label, choices.map(labels), value, change));
  if (choices) return field(id, label, dropdown([...(option.default === null ? [["", t("automatic")]] : []), ...choices.map(labels)], value ?? "", one => change(choices.find(other => String(other) === one)), attributes));
  if (kind === "colour") return colourControl(option, label, value, change);
  if ((kind === "number" || kind === "integer") && option.minimum !== null && option.maximum !== null && option.minimum !== undefined) {
    const step = kind === "integer" ? 1 : (option.maximum - option.minimum) / 100;
    const shown = value ?? (option.minimum + option.maximum) / 2;
    return field(id, label, h("input", { ...attributes, type: "range", min: String(option.minimum), max: String(option.maximum), step: String(step), value: String(shown), oninput: event => change(Number(event.target.value)) }), value === null || value === undefined ? t("automatic") : number(value));
  }
  const shown = Array.isArray(value) ? value.join(" ") : value ?? "";
  return field(id, label, h("input", { ...attributes, type: "text", value: String(typeof shown === "object" ? "" : shown), placeholder: option.default === null ? t("automatic") : "", onchange: event => change(event.target.value.trim()) }));
}

function fileControl({ choices }, label, value, change) {
  const file = value?.name === undefined ? null : value, text = file ? file.name : t("choose.file");
  return h("div", { class: "field" }, h("span", { class: "label" }, label), h("div", { class: "row wrap" },
    choices && !file && dropdown([["", t("automatic")], ...choices.map(one => [one, one])], value ?? "", change, { "aria-label": label }),
    button(text, () => choose(input => change(waiting(input.files[0]))), { "aria-label": `${label}: ${text}` }),
    file && button(t("remove"), () => change(undefined), { kind: "quiet" })));
}

function colourControl({ name, text }, label, value, change) {
  const solid = /^#[0-9a-f]{6}/i.test(value ?? "") ? value.slice(0, 7).toLowerCase() : "#000000";
  return h("fieldset", { class: "field", title: text }, h("legend", null, label), h("div", { class: "swatches" },
    name === "text_color" && COLOURS.map(colour => h("label", { class: "swatch" }, h("input", { type: "radio", name, "aria-label": colour, checked: solid === colour, onchange: () => change(colour) }), h("i", { style: { background: colour } }))),
    h("input", { type: "color", "aria-label": label, value: solid, onchange: event => change(event.target.value) })));
}

/** Ask for a frame if the scene, time or look is another one than that of the newest request. */
function followChanges(scene, seconds) {
  const at = Math.min(preview.at, Math.max(0, seconds - 0.1));
  const body = { scene: sceneBody(scene), at, options: optionsBody(state.draft.options), width: FRAME_WIDTH };
  const wanted = JSON.stringify(body);
  if (wanted === drawn) return;
  drawn = wanted;
  clearTimeout(timer);
  timer = setTimeout(() => draw(body), FRAME_DELAY);
}

async function draw(body) {
  request?.abort();
  const own = (request = new AbortController()), start = performance.now();
  preview.isDrawing = true;
  state.changed();
  try {
    const response = await call("POST", "api/frame", body, { raw: true, signal: own.signal });
    const url = URL.createObjectURL(await response.blob());
    URL.revokeObjectURL(preview.url);
    Object.assign(preview, { url, seconds: (performance.now() - start) / 1000, problem: null, isDrawing: false });
  } catch (problem) {
    if (own !== request || problem.name === "AbortError") return;
    Object.assign(preview, { problem, isDrawing: false });
  }
  state.changed();
}

function stage(scene, scenes, seconds) {
  const { url, problem, isDrawing, at } = preview;
  const time = number(Math.min(at, seconds), 1);
  return h("div", { class: "preview card flush", role: "region", "aria-label": t("preview") },
    h("div", { class: "stage" },
      url ? h("img", { src: url, alt: t("frame.of", { name: scene.name, time }) }) : thumb(scene),
      h("span", { class: "pill", role: "status" }, isDrawing ? t("drawing") : problem ? t("not.drawn") : url && t("drawn.in", { time: number(preview.seconds, 1) })),
      problem && !isDrawing && h("p", { class: "stage-problem" }, problem.faults.length ? problem.faults.map(describe).join(" ") : describe(problem))),
    h("div", { class: "under" },
      h("input", { type: "range", min: "0", max: String(Math.max(0.1, seconds - 0.1)), step: "0.1", value: String(Math.min(at, seconds)), "aria-label": t("time.in.scene"), oninput: event => { preview.at = Number(event.target.value); state.changed(); } }),
      h("span", { class: "num muted" }, t("time.of", { time, all: number(seconds, 1) }))),
    h("div", { class: "strip", role: "group", "aria-label": t("scene.of.preview") }, scenes.map(one => h("button", { key: one.name, type: "button", "aria-pressed": String(one === scene), "aria-label": one.name, title: one.name, onclick: () => { preview.scene = one.name; state.changed(); } }, thumb(one)))));
}
