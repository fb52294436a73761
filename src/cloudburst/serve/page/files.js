// First step: files become scenes. A fault is shown at its file, with the action that fixes it.

import { ask, button, dropdown, field, h, icon, square, toggle } from "./dom.js";
import { addFiles, addStory, chosenFiles, commonFaults, discard, droppedFiles, faultsOf, isSending, nameOf, readyScenes, save, state, waiting } from "./draft.js";
import { ENDINGS, ending } from "./pairing.js";
import { go, steps, thumb } from "./parts.js";
import { describe, problemBox } from "./problems.js";
import { bytes, duration, facts, named, number, t } from "./text.js";

const SYMBOLS = { image: "picture", audio: "sound", subtitle: "subtitle" };
const SILENT_SECONDS = 4;

/** Open a picker; `use` receives its files. */
export function choose(use, { endings, folder = false, several = false } = {}) {
  const input = document.createElement("input");
  Object.assign(input, { type: "file", multiple: several, webkitdirectory: folder, accept: endings ? endings.map(one => `.${one}`).join(",") : "" });
  input.onchange = () => use(input);
  input.click();
}

const chooseMany = folder => () => choose(input => addFiles(chosenFiles(input)), { folder, several: true });

/** Accept drops anywhere on the page. */
export function acceptDrops() {
  const hover = isOver => document.body.classList.toggle("over", isOver);
  addEventListener("dragover", event => { event.preventDefault(); hover(true); });
  addEventListener("dragleave", event => { if (!event.relatedTarget) hover(false); });
  addEventListener("drop", async event => {
    event.preventDefault();
    hover(false);
    const files = await droppedFiles(event.dataTransfer.items);
    if (files.length === 0) return;
    await addFiles(files);
    go("#/");
  });
}

export function filesView() {
  return state.draft.scenes.length || state.draft.unused.length ? scenesView() : emptyView();
}

function emptyView() {
  const pair = (symbol, suffix) => h("div", null, icon(symbol, true), h("span", null, h("b", null, "01-harbour"), suffix));
  return [
    h("div", { class: "drop" },
      h("div", { class: "fan", "aria-hidden": "true" }, ["picture", "sound", "subtitle"].map(name => h("span", null, icon(name)))),
      h("h1", null, t("drop.title")), h("p", null, t("drop.text")),
      h("div", { class: "row" }, button(t("choose.folder"), chooseMany(true), { kind: "main", symbol: "folder" }), button(t("choose.files"), chooseMany(false)))),
    h("div", { class: "three" },
      h("div", { class: "card" }, h("h2", null, t("names.title")), h("div", { class: "pairs", "aria-hidden": "true" }, pair("picture", ".jpg"), pair("sound", ".mp3"), pair("subtitle", ".srt")), h("p", null, t("names.text"))),
      h("div", { class: "card" }, h("h2", null, t("price.title")), h("p", null, t("price.text"))),
      h("div", { class: "card" }, h("h2", null, t("story.title")), h("p", null, t("story.text")), h("p", null, button(t("story.try"), addStory, { symbol: "play" })))),
  ];
}

function scenesView() {
  const { draft, plan } = state, ready = readyScenes();
  const faulty = draft.scenes.filter(scene => !isSending(scene) && faultsOf(scene).length);
  const size = draft.scenes.flatMap(scene => [scene.image, scene.audio, scene.subtitle]).reduce((sum, file) => sum + (file?.size ?? 0), 0);
  const seconds = (plan?.scenes ?? []).reduce((sum, scene) => sum + scene.seconds, 0);
  const planned = new Map((plan?.scenes ?? []).map(one => [one.scene, one]));
  const silent = faulty.filter(scene => scene.image && faultsOf(scene).every(fault => fault.field === "audio" && fault.code === "unpaired"));
  const others = commonFaults();
  return [
    steps(0),
    h("div", { class: "head" },
      h("div", null, h("h1", null, nameOf(draft)), h("p", null, facts(t("scenes.n", { n: draft.scenes.length }), seconds && duration(seconds), size && bytes(size)))),
      h("div", { class: "row" }, button(t("discard"), startOver, { kind: "quiet" }), button(t("add.files"), chooseMany(false), { symbol: "plus" }))),
    h("div", { class: "split" },
      h("div", { class: "stack" },
        state.planProblem && problemBox(state.planProblem),
        (faulty.length > 0 || others.length > 0) && h("div", { key: "faults", class: "call bad", role: "alert" }, icon("warn"), h("div", null,
          faulty.length > 0 && h("h2", null, t("faulty.n", { n: faulty.length })),
          faulty.length > 0 && h("p", null, faulty.slice(0, 12).map((scene, place) => [place > 0 && ", ", h("a", { href: `#${rowId(scene)}`, onclick: event => { event.preventDefault(); document.getElementById(rowId(scene)).scrollIntoView({ block: "center" }); } }, scene.name)])),
          others.map(fault => h("p", null, describe(fault))),
          silent.length > 1 && h("div", { class: "row" }, button(t("silent.all", { n: silent.length, s: SILENT_SECONDS }), () => { for (const scene of silent) scene.duration = SILENT_SECONDS; save(); })))),
        draft.scenes.length > 0 && h("div", { class: "card flush" }, h("ol", { class: "scenes", "aria-label": t("scenes") }, draft.scenes.map((scene, place) => row(scene, place, planned))))),
      h("aside", { class: "stack", "aria-label": t("run.options") },
        h("div", { class: "card stack" },
          field("name", t("name"), h("input", { id: "name", type: "text", maxlength: 200, value: draft.name, placeholder: nameOf({ ...draft, name: "" }), oninput: event => { draft.name = event.target.value; save(); } })),
          toggle(h("b", null, t("film.join")), draft.film, value => { draft.film = value; save(); }),
          draft.film && field("transition", t("transition"), dropdown(["cut", "fade", "crossfade"].map(one => [one, named("transition", one)]), draft.transition, value => { draft.transition = value; save(); }, { id: "transition" }))),
        draft.unused.length > 0 && h("div", { class: "card" }, h("h2", null, t("unused")), h("ul", { class: "stack tight small" }, draft.unused.slice(0, 20).map(path => h("li", null, h("b", null, path), " ", h("span", { class: "muted" }, reason(path))))), draft.unused.length > 20 && h("p", { class: "small muted" }, t("more.n", { n: draft.unused.length - 20 }))))),
    h("div", { class: "dock" },
      h("p", { role: "status" }, state.waiting ? t("sending", { done: state.sent, n: state.waiting }) : t("ready.n", { ready: ready.length, n: draft.scenes.length })),
      state.waiting > 0 && h("progress", { max: state.waiting, value: state.sent, "aria-label": t("sending.label") }),
      faulty.length > 0 && ready.length > 0 && button(t("continue.without", { n: faulty.length }), () => { draft.scenes = draft.scenes.filter(scene => !faulty.includes(scene)); save(); go("#/look"); }),
      button(t("next.look"), () => go("#/look"), { kind: "main", disabled: faulty.length > 0 || ready.length === 0 || state.waiting > 0 })),
  ];
}

async function startOver() {
  if (await ask(t("discard.title"), [h("p", null, t("discard.text"))], [["", t("back")], ["discard", t("discard"), "bad"]])) discard();
}

const rowId = scene => `scene-${scene.name}`;

function reason(path) {
  const end = ending(path);
  if (["csv", "yaml", "yml", "json"].includes(end)) return t("unused.list");
  if (ENDINGS.subtitle.includes(end)) return t("unused.subtitle");
  if (ENDINGS.image.includes(end) || ENDINGS.audio.includes(end)) return t("unused.scene");
  return ["psd", "tif", "tiff", "bmp", "gif", "svg"].includes(end) ? t("unused.picture") : t("unused.other");
}

function row(scene, place, planned) {
  const faults = isSending(scene) ? [] : faultsOf(scene);
  const known = planned.get(scene.name);
  return h("li", { key: scene.name, id: rowId(scene), class: faults.length ? "faulty" : "" },
    h("span", { class: "at" }, String(place + 1).padStart(2, "0")),
    thumb(scene),
    h("div", null, h("h3", null, scene.name),
      h("div", { class: "files" }, ["image", "audio", "subtitle"].map(role => chip(scene, role, faults)), known && faults.length === 0 && h("span", { class: "num" }, duration(known.seconds))),
      known?.warnings.map(text => h("p", { class: "small warning" }, icon("warn", true), text))),
    square("cross", t("remove.of", { name: scene.name }), () => remove(scene)),
    faults.map(fault => remedy(scene, fault)));
}

function chip(scene, role, faults) {
  const file = scene[role], isBad = faults.some(fault => fault.field === role || fault.field === `${role}_path`);
  const isGap = !file && (role === "image" ? scene.rest.title_card : role === "subtitle" || scene.duration !== null);
  const text = file ? (isBad ? file.name : ending(file.name) || file.name) : role === "audio" && scene.duration !== null ? t("silent", { s: number(scene.duration) }) : role === "image" && scene.rest.title_card ? t("title.card") : t(`no.${role}`);
  return h("button", { type: "button", class: isBad ? "bad" : isGap ? "gap" : "", title: t(`replace.${role}`), "aria-label": `${t(`replace.${role}`)}: ${text}`, onclick: () => replace(scene, role) },
    file?.isWaiting ? h("span", { class: "spinner", role: "img", "aria-label": t("sending.label") }) : icon(SYMBOLS[role], true), h("span", null, text));
}

function replace(scene, role) {
  choose(input => {
    scene[role] = waiting(input.files[0]);
    if (role === "audio") scene.duration = null;
    save();
  }, { endings: ENDINGS[role] });
}

function remove(scene) {
  state.draft.scenes = state.draft.scenes.filter(one => one !== scene);
  save();
}

function remedy(scene, fault) {
  const role = fault.field.replace(/_path$/, "");
  const isSilent = role === "audio" && fault.code === "unpaired";
  const isShape = fault.code === "contradiction" && ["image", "title_card"].includes(role); // of a film
  const setSize = size => () => {
    delete state.draft.options.is_portrait;
    state.draft.options.size = size;
    save();
  };
  const setSilent = event => {
    event.preventDefault();
    scene.duration = Math.max(0.1, Number(event.target.elements.seconds.value) || SILENT_SECONDS);
    save();
  };
  return h("div", { class: "fault" },
    h("p", null, icon("warn", true), h("span", null, describe({ ...fault, scene: scene.name }))),
    h("div", { class: "row" },
      isSilent && h("form", { class: "inline", onsubmit: setSilent }, h("input", { type: "number", name: "seconds", min: "0.1", step: "0.1", value: String(SILENT_SECONDS), "aria-label": t("length.of", { name: scene.name }) }), h("span", null, t("seconds.silent")), h("button", { class: "btn" }, t("set"))),
      isShape && [button(t("shape.wide"), setSize("landscape")), button(t("shape.upright"), setSize("portrait")), button(t("film.none"), () => { state.draft.film = false; save(); }, { kind: "quiet" })],
      role in SYMBOLS && !isShape && button(t(`choose.${role}`), () => replace(scene, role), { kind: isSilent ? "quiet" : "" }),
      role === "subtitle" && button(t("without.subtitle"), () => { scene.subtitle = undefined; save(); }, { kind: "quiet" }),
      role.startsWith("options") && button(t("own.look.remove"), () => { scene.options = {}; save(); }),
      button(t("remove.scene"), () => remove(scene), { kind: "quiet" })));
}
