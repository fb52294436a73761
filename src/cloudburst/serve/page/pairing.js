// Which files of a folder belong to one scene: the same rule as `cloudburst.inputs.scenes`.

const PICTURES = ["png", "jpg", "jpeg", "webp", "heic", "heif", "avif"];
const SOUNDS = ["mp3", "wav", "m4a", "ogg", "flac", "aiff", "aif", "caf"];
const SUBTITLES = ["srt", "vtt", "ass", "ssa", "lrc", "json"];
const LISTS = ["json", "csv", "yaml", "yml"]; // of scenes, unless they are subtitles
const UNREADABLE_SUBTITLES = ["sub", "sbv", "smi", "sami", "ttml", "dfxp", "stl", "scc"];
export const ENDINGS = { image: PICTURES, audio: SOUNDS, subtitle: SUBTITLES };

const baseName = path => path.slice(path.lastIndexOf("/") + 1);

function divided(path) {
  const name = baseName(path), dot = name.lastIndexOf(".");
  const hasEnding = dot > 0 && dot < name.length - 1;
  return hasEnding ? [name.slice(0, dot), name.slice(dot + 1).toLowerCase()] : [name, ""];
}

export const stem = path => divided(path)[0];
export const ending = path => divided(path)[1];

/** Compare two names with numbers as numbers: `scene_2` is before `scene_10`. */
export function naturally(one, other) {
  const [left, right] = [one, other].map(name => name.toLowerCase().split(/(\d+)/));
  for (let place = 0; place < Math.min(left.length, right.length); place++) {
    const [a, b] = place % 2 ? [BigInt(left[place]), BigInt(right[place])] : [left[place], right[place]];
    if (a !== b) return a < b ? -1 : 1;
  }
  return left.length - right.length || (one < other ? -1 : Number(one > other));
}

/** Return the scene of a subtitle file: `NAME` for `NAME`, `NAME.en` and `NAME.zh-CN`. */
function sceneOf(name, scenes) {
  while (!scenes.has(name)) {
    const dot = name.lastIndexOf(".");
    if (dot < 0) return null;
    name = name.slice(0, dot);
  }
  return name;
}

/**
 * Pair the paths of a folder, which begin at it.
 *
 * Returns `scenes` with `name`, `image`, `audio` and `subtitle` (paths, or undefined); `faults` with
 * `scene`, `field` and `files`; `lists` of scenes, in whose place pairs are read only if no list can
 * be; and `unused` paths. `known` are names of scenes that are there already. A picture without a sound is a scene without
 * `audio`, and no fault: the caller decides whether it is one.
 */
export function pair(paths, known = []) {
  const seen = paths.filter(path => !path.split("/").some(part => part.startsWith(".")));
  const isNumbered = seen.some(path => /^images\/scene_[^/]*\.png$|^audio\/scene_[^/]*\.mp3$/.test(path));
  const used = new Set(), faults = [], images = new Map(), sounds = new Map();
  const add = (map, path) => map.set(stem(path), [...(map.get(stem(path)) ?? []), path]);
  for (const path of seen) {
    if (isNumbered ? /^images\/scene_[^/]*\.png$/.test(path) : !path.includes("/") && PICTURES.includes(ending(path))) add(images, path);
    if (isNumbered ? /^audio\/scene_[^/]*\.mp3$/.test(path) : !path.includes("/") && SOUNDS.includes(ending(path))) add(sounds, path);
  }
  const isSubtitle = path => ending(path) === "json" && (images.has(stem(path)) || sounds.has(stem(path)) || known.includes(stem(path)));
  const lists = isNumbered ? [] : seen.filter(path => !path.includes("/") && LISTS.includes(ending(path)) && !isSubtitle(path));
  const named = new Set(isNumbered ? [...images.keys(), ...sounds.keys()] : sounds.keys());
  const subtitles = new Map();
  for (const path of [...seen].sort()) {
    if ((isNumbered ? !/^audio\/scene_[^/]*$/.test(path) : path.includes("/")) || lists.includes(path)) continue;
    const scene = sceneOf(stem(path), isNumbered ? sounds : named);
    if (scene === null || ![...SUBTITLES, ...UNREADABLE_SUBTITLES].includes(ending(path))) continue;
    used.add(path);
    const isValid = SUBTITLES.includes(ending(path)) && stem(path) === scene && !subtitles.has(scene);
    if (isValid) subtitles.set(scene, path);
    else faults.push({ scene, field: "subtitle", files: [path] });
  }
  const scenes = [...new Set([...images.keys(), ...sounds.keys()])].sort(naturally).map(name => {
    const [pictures, audio] = [images.get(name) ?? [], sounds.get(name) ?? []];
    for (const path of [...pictures, ...audio]) used.add(path);
    if (pictures.length === 0) faults.push({ scene: name, field: "image", files: [] });
    if (isNumbered && audio.length === 0) faults.push({ scene: name, field: "audio", files: [] });
    if (pictures.length > 1 && audio.length > 0) faults.push({ scene: name, field: "image", files: pictures });
    if (audio.length > 1) faults.push({ scene: name, field: "audio", files: audio });
    return { name, image: pictures[0], audio: audio[0], subtitle: subtitles.get(name) };
  });
  return { scenes, faults, lists, unused: seen.filter(path => !used.has(path)) };
}
