// The run that is being prepared: scenes, look and place. It is kept in this browser, and its files
// are uploads on the server, so that a reload or a second tab loses nothing.

import { call, connection, post } from "./api.js";
import { ENDINGS, ending, naturally, pair, stem } from "./pairing.js";
import { server } from "./server.js";
import { t } from "./text.js";

const KEY = "draft", ROLES = ["image", "audio", "subtitle"];
const UPLOADS = 3; // at once
const KEPT_DRAFTS = 20; // of earlier runs, which can be rendered with another look
const AGAIN = [0, 429, 503], AGAIN_DELAY = 2000; // statuses after which a file is sent again, and milliseconds
const PLAN_DELAY = 300; // milliseconds without a change, after which the plan is asked for

const empty = () => ({ key: crypto.randomUUID?.() ?? String(Math.random()), name: "", folder: "", film: true, transition: "cut", scenes: [], unused: [], options: {}, preset: null, place: null, spot: false, maxUsd: "", deadline: "" });

/** The draft, what the server says about it, and the uploads that wait or fail. */
export const state = { draft: empty(), plan: null, planProblem: null, isPlanning: false, waiting: 0, sent: 0, changed: () => {} };

let queue = [], running = 0, timer = 0, asked = new AbortController();

/** Read the draft of this browser. Files whose upload had not ended must be chosen again. */
export function load() {
  const kept = localStorage.getItem(KEY);
  state.draft = kept ? JSON.parse(kept) : empty();
  for (const scene of state.draft.scenes) {
    for (const role of ROLES) if (scene[role]?.isWaiting) scene[role] = { name: scene[role].name, problem: "lost" };
  }
  replan();
}

addEventListener("storage", event => {
  if (event.key !== KEY || running || queue.length) return;
  load();
  state.changed();
});

/** Keep the draft, and ask the server what it says about it. */
export function save() {
  localStorage.setItem(KEY, JSON.stringify(state.draft));
  state.changed();
  replan();
}

/** Begin with nothing. */
export function discard() {
  queue = [];
  Object.assign(state, { draft: empty(), plan: null, planProblem: null, waiting: 0, sent: 0 });
  save();
}

/** Return the files of a drop, with paths that begin at the dropped folder. */
export async function droppedFiles(items) {
  const entries = [...items].map(item => item.webkitGetAsEntry() ?? item.getAsFile()).filter(Boolean);
  const files = [];
  const walk = async (entry, path) => {
    if (entry.isFile) {
      const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
      files.push({ file, path: path + entry.name });
      return;
    }
    const reader = entry.createReader();
    const readSome = () => new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    for (let some = await readSome(); some.length; some = await readSome()) {
      for (const inner of some) await walk(inner, `${path}${entry.name}/`);
    }
  };
  for (const entry of entries) {
    if (entry instanceof File) files.push({ file: entry, path: entry.name }); // other programs drop these
    else await walk(entry, "");
  }
  return files;
}

/** Return the files of a picker, with the paths that its folder gives them. */
export const chosenFiles = input => [...input.files].map(file => ({ file, path: file.webkitRelativePath || file.name }));

/** Add files: those of one name become a scene, or complete the scene of that name. */
export async function addFiles(files) {
  const first = files[0]?.path.split("/")[0];
  const isFolder = files.every(({ path }) => path.includes("/") && path.split("/")[0] === first);
  const byPath = new Map(files.map(({ file, path }) => [isFolder ? path.slice(first.length + 1) : path, file]));
  if (isFolder) state.draft.folder ||= first;
  const found = pair([...byPath.keys()], state.draft.scenes.map(({ name }) => name)), [list, ...more] = found.lists;
  const listed = list && more.length === 0 ? await readList(byPath.get(list)) : null;
  if (listed) addListed(listed, byPath, list);
  else addPaired(found, byPath);
  save();
}

async function readList(file) {
  try {
    const content = JSON.parse(await file.text());
    const scenes = Array.isArray(content) ? content : content?.scenes;
    return Array.isArray(scenes) && scenes.every(scene => scene && typeof scene === "object") && scenes.some(scene => scene.name ?? scene.scene_name) ? scenes : null; // words have no name
  } catch {
    return null;
  }
}

function addListed(scenes, byPath, list) {
  const used = new Set([list]);
  for (const { name, scene_name: oldName, options, duration, ...fields } of scenes) {
    const scene = { name: String(name ?? oldName ?? ""), options: options ?? {}, duration: duration ?? null, rest: {} };
    for (const [key, value] of Object.entries(fields)) {
      const role = key.replace(/_path$/, "");
      const path = typeof value === "string" ? value.replace(/^\.\//, "") : "";
      if (!ROLES.includes(role)) scene.rest[key] = value;
      else if (/^(https|s3):\/\//.test(path)) scene[role] = { id: path, name: path };
      else if (byPath.has(path)) {
        used.add(path);
        scene[role] = waiting(byPath.get(path));
      } else if (path) scene[role] = { name: path, problem: "absent" };
    }
    for (const [option, value] of Object.entries(scene.options)) {
      if (byPath.has(value)) {
        used.add(value);
        scene.options[option] = waiting(byPath.get(value));
      }
    }
    put(scene);
  }
  addUnused([...byPath.keys()].filter(path => !used.has(path)));
}

function addPaired({ scenes, faults, unused }, byPath) {
  const alone = new Set();
  for (const found of scenes) {
    const scene = { name: found.name, duration: null, options: {}, rest: {} };
    for (const role of ROLES) if (found[role]) scene[role] = waiting(byPath.get(found[role]));
    for (const { field, files } of faults.filter(fault => fault.scene === found.name)) {
      if (files.length > 1) scene[field] = { name: files.join(", "), problem: "several" };
      else if (files.length === 1 && !scene[field]) scene[field] = { name: files[0], problem: "subtitle" };
    }
    put(scene);
  }
  for (const path of unused) {
    // Files that are added later complete a scene that was there before.
    const scene = state.draft.scenes.find(({ name }) => name === stem(path));
    if (scene && ENDINGS.subtitle.includes(ending(path))) scene.subtitle = waiting(byPath.get(path));
    else alone.add(path);
  }
  addUnused([...alone]);
}

function addUnused(paths) {
  const known = new Set(state.draft.unused);
  state.draft.unused.push(...paths.filter(path => !path.split("/").at(-1).startsWith(".") && !known.has(path)));
}

function put(scene) {
  const known = state.draft.scenes.find(({ name }) => name === scene.name);
  if (known) for (const role of ROLES) known[role] = scene[role] ?? known[role];
  else state.draft.scenes.push(scene);
  state.draft.scenes.sort((one, other) => naturally(one.name, other.name));
}

/** Return an entry of a file of this machine, whose upload begins now. */
export function waiting(file) {
  const entry = { name: file.name, size: file.size, isWaiting: true };
  queue.push({ entry, file });
  state.waiting++;
  queueMicrotask(sendNext);
  return entry;
}

/** Send the next files, as many as may be sent at once. Without a connection, they wait for it. */
export async function sendNext() {
  if (running >= UPLOADS || queue.length === 0 || connection.isDown) return;
  const next = queue.shift(), { entry, file } = next;
  running++;
  sendNext();
  try {
    Object.assign(entry, await upload(file), { isWaiting: false });
  } catch (problem) {
    if (AGAIN.includes(problem.status)) {
      running--;
      queue.unshift(next);
      setTimeout(sendNext, AGAIN_DELAY);
      return;
    }
    Object.assign(entry, { isWaiting: false, problem: problem.code, message: problem.message });
  }
  running--;
  state.sent++;
  if (running === 0 && queue.length === 0) Object.assign(state, { waiting: 0, sent: 0 });
  save();
  sendNext();
}

/** Send a file; return its name, identifier, size, length and what is wrong with it. */
export async function upload(file) {
  return { name: file.name, ...await call("POST", "api/uploads", file) };
}

/** Return what keeps a scene from being rendered: `field`, `code` and values for its text. */
export function faultsOf(scene) {
  const own = [];
  for (const role of ROLES) {
    const file = scene[role];
    if (file?.problem) own.push({ field: role, code: file.problem, found: file.name, expected: file.message ?? "" });
    else if (file?.fault) own.push({ ...file.fault, field: role });
  }
  if (!scene.image && !scene.rest.title_card) own.push({ field: "image", code: "unpaired" });
  if (!scene.audio && scene.duration === null && scene.rest.until === undefined) own.push({ field: "audio", code: "unpaired" });
  if (own.length) return own;
  return (state.plan?.faults ?? []).filter(fault => fault.scene === scene.name);
}

/** Return faults of the run that belong to no scene. */
export function commonFaults() {
  const names = new Set(state.draft.scenes.map(({ name }) => name));
  return (state.plan?.faults ?? []).filter(fault => !names.has(fault.scene));
}

export const isSending = scene => ROLES.some(role => scene[role]?.isWaiting);
export const readyScenes = () => state.draft.scenes.filter(scene => !isSending(scene) && faultsOf(scene).length === 0);

/** Return the name of a run: what the user has typed, or the folder, or the first scene, and the day. */
export const nameOf = ({ name, folder, scenes }) => name || [folder || scenes[0]?.name, new Date().toLocaleDateString("sv")].filter(Boolean).join(" ");

/** Return options with the identifiers of their files. */
export function optionsBody(options) {
  const sent = Object.entries(options).map(([name, value]) => [name, value?.name === undefined ? value : value.id]);
  return Object.fromEntries(sent.filter(([, value]) => value !== undefined));
}

/** Return a scene as requests have it. */
export function sceneBody(scene) {
  const body = { name: scene.name, ...scene.rest };
  for (const role of ROLES) if (scene[role]) body[role] = scene[role].id;
  if (scene.duration !== null) body.duration = scene.duration;
  if (Object.keys(scene.options).length) body.options = optionsBody(scene.options);
  return body;
}

/** Return the body of a job or plan with these scenes. */
export function jobBody(scenes) {
  const { draft } = state;
  const body = { name: draft.name, scenes: scenes.map(sceneBody), options: { cover: true, ...optionsBody(draft.options) }, film: draft.film }; // the page shows the covers
  if (draft.film) body.transition = draft.transition;
  if (draft.spot) body.spot = true;
  if (Number(draft.deadline) > 0) body.deadline = Number(draft.deadline);
  return body;
}

/** Ask for a plan of the draft as soon as it has not changed for a moment. */
export function replan() {
  clearTimeout(timer);
  timer = setTimeout(askPlan, PLAN_DELAY);
}

async function askPlan() {
  const scenes = state.draft.scenes.filter(scene => !isSending(scene) && !ROLES.some(role => scene[role]?.problem) && (scene.image?.id || scene.rest.title_card));
  asked.abort();
  const own = (asked = new AbortController());
  if (scenes.length === 0 || queue.length || running) return;
  state.isPlanning = true;
  state.changed();
  try {
    Object.assign(state, { plan: await post("api/plan", jobBody(scenes), { signal: own.signal }), planProblem: null });
  } catch (problem) {
    if (own.signal.aborted) return;
    state.planProblem = problem;
  }
  state.isPlanning = false;
  state.changed();
}

/** Return the limit of the bill in USD: what the user has set, or what the plan costs at most. */
export function capOf(plan) {
  return Number(state.draft.maxUsd) > 0 ? state.draft.maxUsd : (Math.max(1, Math.ceil(Number(plan.usd_high) * 100)) / 100).toFixed(2);
}

/** Submit the ready scenes with a plan; return the job. A repeated request makes no second job. */
export async function submit(plan) {
  const { draft } = state, body = { ...jobBody(readyScenes()), name: nameOf(draft) };
  if (server.about.places.some(one => one.place === plan.place && one.available)) body.place = plan.place;
  if (plan.place !== "machine") Object.assign(body, { tier: plan.tier, workers: plan.workers, spot: plan.spot });
  if (plan.place !== "machine") body.max_usd = capOf(plan);
  const job = await post("api/jobs", body, { headers: { "Idempotency-Key": draft.key } });
  const known = Object.keys(localStorage).filter(key => key.startsWith("run-"));
  for (const key of known.slice(0, Math.max(0, known.length - KEPT_DRAFTS + 1))) localStorage.removeItem(key);
  localStorage.setItem(`run-${job.id}`, JSON.stringify(draft));
  return job;
}

/** Prepare a run again, from the draft that it had. */
export function reuse(draft) {
  Object.assign(state, { draft: { ...draft, key: empty().key }, plan: null, planProblem: null });
  save();
}

/** Fetch the story of the package and add its files. */
export async function addStory() {
  const read = async path => ({ path: `${t("story.name")}/${path}`, file: new File([await (await call("GET", `story/${path}`, undefined, { raw: true })).blob()], path) });
  const list = await read("story.json");
  const paths = JSON.parse(await list.file.text()).flatMap(scene => ROLES.map(role => scene[role]));
  await addFiles([list, ...await Promise.all(paths.map(read))]);
}
