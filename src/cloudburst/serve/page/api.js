// Requests to the server that has sent the page, and the state of the connection to it.

/** Error of a request: `code`, `message`, `fix` and `faults` as the server has sent them. */
export class Problem extends Error {
  constructor(status, document) {
    super(document.message ?? document.detail ?? "");
    Object.assign(this, { status, code: document.code ?? "invalid", fix: document.fix ?? "", faults: document.faults ?? [] });
  }
}

const RETRY_SECONDS = [1, 2, 5];

/** State of the connection; `changed` is called when it or the need for a key has changed. */
export const connection = { isDown: false, needsKey: false, seconds: 0, changed: () => {}, restored: () => {} };

let attempt = 0, timer = 0;

/** Send a request and return the JSON of the response, or the response if `raw` is true. */
export async function call(method, path, body, { raw = false, headers = {}, signal } = {}) {
  const isFile = body instanceof Blob;
  const type = body === undefined ? {} : { "Content-Type": isFile ? "application/octet-stream" : "application/json" };
  let response;
  try {
    response = await fetch(path, { method, body: isFile || body === undefined ? body : JSON.stringify(body), headers: { ...type, ...headers }, signal });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    lose();
    throw new Problem(0, { code: "offline", message: "" });
  }
  if (connection.isDown) {
    [connection.isDown, attempt] = [false, 0];
    connection.restored();
  }
  if (response.status === 401 && path !== "session") {
    connection.needsKey = true;
    connection.changed();
  }
  if (!response.ok) throw new Problem(response.status, await response.json().catch(() => ({})));
  if (raw) return response;
  return response.status === 204 ? null : response.json();
}

export const get = path => call("GET", path);
export const post = (path, body, options) => call("POST", path, body ?? {}, options);

/** Ask the server again at once, or note that it does not answer and ask again later. */
export async function retry() {
  clearTimeout(timer);
  await get("api/server").catch(() => {});
}

export function lose() {
  clearTimeout(timer);
  connection.isDown = true;
  connection.seconds = RETRY_SECONDS[Math.min(attempt++, RETRY_SECONDS.length - 1)];
  timer = setTimeout(retry, connection.seconds * 1000);
  connection.changed();
}
