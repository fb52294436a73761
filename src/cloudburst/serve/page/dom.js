// Views return trees of plain objects; `patch` brings the document into that shape. Nodes that stay
// keep their focus, scroll position and playback.

const SVG = "http://www.w3.org/2000/svg";
const LAST = ["min", "max", "value", "checked"]; // the value of a slider depends on its limits
const PROPERTIES = new Set(["value", "checked", "muted"]);

/** Return a node: its tag, attributes, listeners (`onclick`) and children. Texts stay texts. */
export function h(tag, props, ...children) {
  return { tag, props: props ?? {}, children: children.flat(Infinity).filter(isShown).map(asNode) };
}

const isShown = child => child !== null && child !== undefined && child !== "" && typeof child !== "boolean";
const asNode = child => (typeof child === "object" ? child : { text: String(child) });

/** Make the children of `parent` those of `wanted`. */
export function patch(parent, wanted) {
  const keyed = new Map(), loose = [], kept = new Set();
  for (const node of parent.childNodes) {
    if (node.key === undefined) loose.push(node);
    else keyed.set(node.key, node);
  }
  let next = 0;
  const found = wanted.map(one => {
    let node = one.props?.key === undefined ? undefined : keyed.get(one.props.key);
    if (one.props?.key === undefined) {
      let place = next;
      while (place < loose.length && !isSame(loose[place], one)) place += 1;
      if (place < loose.length) [node, next] = [loose[place], place + 1];
    }
    if (node && isSame(node, one)) kept.add(node);
    else node = undefined;
    return node;
  });
  for (const node of [...parent.childNodes]) if (!kept.has(node)) node.remove();
  let place = parent.firstChild;
  wanted.forEach((one, index) => {
    const node = found[index] ?? create(one, parent);
    if (node === place) place = node.nextSibling;
    else parent.insertBefore(node, place);
    update(node, one);
  });
}

function isSame(node, wanted) {
  return wanted.text === undefined ? node.localName === wanted.tag : node.nodeType === Node.TEXT_NODE;
}

function create(wanted, parent) {
  if (wanted.text !== undefined) return document.createTextNode(wanted.text);
  const inSvg = wanted.tag === "svg" || (parent.namespaceURI === SVG && parent.localName !== "foreignObject");
  const node = inSvg ? document.createElementNS(SVG, wanted.tag) : document.createElement(wanted.tag);
  node.props = {};
  if (wanted.props.key !== undefined) node.key = wanted.props.key;
  return node;
}

function update(node, wanted) {
  if (wanted.text !== undefined) {
    if (node.data !== wanted.text) node.data = wanted.text;
    return;
  }
  patch(node, wanted.children);
  const { key, made, ...props } = wanted.props, isNew = !node.isMade;
  const before = node.props;
  const change = name => {
    if (PROPERTIES.has(name) ? node[name] !== props[name] : before[name] !== props[name]) set(node, name, props[name], before[name]);
  };
  for (const name in before) if (!(name in props)) set(node, name, undefined, before[name]);
  for (const name in props) if (!LAST.includes(name)) change(name);
  for (const name of LAST) if (name in props) change(name);
  node.props = props;
  node.isMade = true;
  if (isNew) made?.(node);
}

function set(node, name, value, before) {
  if (name.startsWith("on")) node[name] = value ?? null;
  else if (PROPERTIES.has(name)) node[name] = value ?? "";
  else if (name === "style") {
    for (const one of Object.keys(before ?? {})) if (!(one in (value ?? {}))) node.style.removeProperty(one);
    for (const [one, text] of Object.entries(value ?? {})) node.style.setProperty(one, text);
  } else if (value === undefined || value === null || value === false) node.removeAttribute(name);
  else node.setAttribute(name, value === true ? "" : value);
}

const PATHS = {
  plus: "M12 5v14M5 12h14", list: "M9 6h11M9 12h11M9 18h11M4.500 6h.01M4.500 12h.01M4.500 18h.01", settings: "M4 8h9M19 8h1M4 16h1M11 16h9M16 10a2 2 0 1 0 0-4 2 2 0 0 0 0 4zM8 18a2 2 0 1 0 0-4 2 2 0 0 0 0 4z",
  moon: "M20 14a8 8 0 1 1-10-10 7 7 0 0 0 10 10z", folder: "M3 18V6h6l2 2.500h10V18z", picture: "M4 5h16v14H4zM4 16l5-5 4 4 2-2 5 5M15.500 9h.01", sound: "M4 10v4h4l5 4V6L8 10zM16.500 9a4 4 0 0 1 0 6M19 6.500a8 8 0 0 1 0 11", subtitle: "M4 6h16v12H4zM7 14.500h4M14 14.500h3M7 11h2M12 11h5",
  play: "M8 5.500v13l11-6.500z", check: "m5 12.500 4.500 4.500L19 7.500", warn: "M12 4 3 19.500h18zM12 10v4M12 17h.01", next: "m9 6 6 6-6 6", again: "M19.500 12a7.500 7.500 0 1 1-2.200-5.300L20 9M20 4v5h-5", download: "M12 4v11m-5-4.500 5 5 5-5M5 20h14", copy: "M9 9h11v11H9zM5 15H4V4h11v1",
  machine: "M7 7h10v10H7zM10 3v4M14 3v4M10 17v4M14 17v4M3 10h4M3 14h4M17 10h4M17 14h4", cloud: "M7.500 18a4.500 4.500 0 0 1-.5-9 6 6 0 0 1 11.300-.6A5 5 0 0 1 17.500 18z", both: "M7.500 12.500a3.500 3.500 0 0 1 0-7 5 5 0 0 1 9-.3 3.700 3.700 0 0 1 0 7.300zM8 17h8v4H8zM12 12.500V17", clock: "M12 7v5l3 2M21 12a9 9 0 1 1-18 0 9 9 0 0 1 18 0z", cross: "M6 6l12 12M18 6 6 18", trash: "M5 7h14M9 7V4h6v3M7 7l1 13h8l1-13", pencil: "M4 20l1-4L16 5l3 3L8 19zM13.500 7.500l3 3",
};

/** Return an icon, which screen readers skip. */
export function icon(name, small = false) {
  return h("svg", { class: small ? "icon s" : "icon", viewBox: "0 0 24 24", "aria-hidden": "true" }, h("path", { d: PATHS[name] }));
}

/** Return a button with a text, and an icon before it if one is named. */
export function button(text, onclick, { kind = "", symbol, ...props } = {}) {
  return h("button", { type: "button", class: `btn ${kind}`, onclick, ...props }, symbol && icon(symbol), text);
}

/** Return a button with an icon only. */
export function square(symbol, label, onclick, { kind = "quiet", ...props } = {}) {
  return h("button", { type: "button", class: `btn square ${kind}`, "aria-label": label, title: label, onclick, ...props }, icon(symbol));
}

/** Return a link that looks like a button. */
export function linkButton(text, href, { kind = "", symbol, ...props } = {}) {
  return h("a", { class: `btn ${kind}`, href, ...props }, symbol && icon(symbol), text);
}

/** Return a switch with a label before it. */
export function toggle(label, checked, change, props) {
  return h("label", { class: "switch" }, h("span", null, label), h("input", { type: "checkbox", role: "switch", checked, onchange: event => change(event.target.checked), ...props }));
}

/** Return one of few choices side by side, each `[value, label]`. */
export function segments(name, label, choices, chosen, change) {
  return h("div", { class: "seg", role: "radiogroup", "aria-label": label }, choices.map(([value, text, before]) =>
    h("label", { key: value }, h("input", { type: "radio", name, value, checked: value === chosen, onchange: () => change(value) }), before, h("span", null, text))));
}

/** Return a list from which one of many choices is chosen, each `[value, label]`. */
export function dropdown(choices, chosen, change, props) {
  return h("select", { value: chosen, onchange: event => change(event.target.value), ...props }, choices.map(([value, text]) => h("option", { key: value, value }, text)));
}

/** Return a labelled control; `control` receives the attributes that join it to the label. */
export function field(id, label, control, value) {
  const text = value === undefined ? label : [h("span", null, label), h("output", { class: "muted" }, value)];
  return h("div", { class: "field" }, h("label", { for: id, class: value === undefined ? "" : "row between" }, text), control);
}

/** Show a dialog until one of its buttons is pressed, and return that button's value. */
export function ask(title, content, buttons) {
  const dialog = document.createElement("dialog");
  dialog.setAttribute("aria-labelledby", "dialog-title");
  const close = value => () => dialog.close(value);
  const bar = buttons.map(([value, text, kind]) => button(text, close(value), { kind }));
  patch(dialog, [h("h2", { id: "dialog-title" }, title), ...content, h("div", { class: "row" }, bar)]);
  document.documentElement.append(dialog); // the body is patched
  dialog.showModal();
  return new Promise(resolve => {
    dialog.onclose = () => {
      dialog.remove();
      resolve(dialog.returnValue);
    };
  });
}
