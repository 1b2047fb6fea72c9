// The server's OpenAI interface: models, and answers as they are made.

let key = sessionStorage.getItem("key") ?? "";

export function setKey(value) {
  key = value.trim();
  sessionStorage.setItem("key", key);
}

/** What went wrong, in one line for the user. `needsKey`: the server wants an API key. */
export class Trouble extends Error {
  constructor(message, needsKey = false) {
    super(message);
    this.needsKey = needsKey;
  }
}

/** The server's models: {name, scale}; `scale` is how a model writes boxes, undefined if the server does not say. */
export async function listModels() {
  const response = await send("/v1/models");
  return (await response.json()).data.map((model) => ({ name: model.id, scale: model.box_scale }));
}

/**
 * Ask, and yield {text} for each piece, {finish} when the model has ended, {usage} with the counts of tokens.
 * `finish` is OpenAI's finish_reason, or for "length" which: "max_tokens", "context", "repetition".
 * Throws Trouble; an AbortError when `signal` stopped it.
 */
export async function* ask(model, messages, signal) {
  const body = JSON.stringify({ model, messages, stream: true, stream_options: { include_usage: true } });
  const response = await send("/v1/chat/completions", { method: "POST", body, signal, headers: { "Content-Type": "application/json" } });
  let ended = false;
  for await (const event of events(response.body)) {
    if (event === "[DONE]") return;
    const chunk = JSON.parse(event);
    if (chunk.error) throw new Trouble(lineOf(chunk.error) || "The answer broke off.");
    const choice = chunk.choices?.[0];
    if (choice?.delta?.content) yield { text: choice.delta.content };
    if (choice?.finish_reason) {
      ended = true;
      yield { finish: choice.stop_reason ?? choice.finish_reason };
    }
    if (chunk.usage) yield { usage: chunk.usage };
  }
  if (!ended) throw new Trouble("The connection ended before the answer was complete.");
}

async function send(path, options = {}) {
  const headers = { ...options.headers, ...(key ? { Authorization: `Bearer ${key}` } : {}) };
  let response;
  try {
    response = await fetch(path, { ...options, headers, credentials: "omit" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Trouble("The server does not answer. Is ggufvlm serve still running?");
  }
  if (!response.ok) throw await troubleOf(response);
  return response;
}

async function troubleOf(response) {
  const { status } = response;
  if (status === 401) return new Trouble(key ? "This API key is not the server's." : "This server asks for an API key.", true);
  let said = "";
  try {
    said = lineOf((await response.json()).error);
  } catch {
    // not JSON: the status has to do
  }
  if (status === 429) {
    const seconds = Number.parseInt(response.headers.get("Retry-After") ?? "", 10);
    return new Trouble(`The server is busy. ${seconds ? `Try again in ${seconds} s.` : "Try again in a moment."}`);
  }
  if (status === 413) return new Trouble(said || "This is more than the server takes at once. Send fewer or smaller images.");
  return new Trouble(said || `The server answered with status ${status}. Its log says why.`);
}

function lineOf(error) {
  if (typeof error === "string") return error;
  const message = typeof error?.message === "string" ? error.message : "";
  return typeof error?.hint === "string" && !message.includes(error.hint) ? `${message} (${error.hint})` : message;
}

/** The data of server-sent events (WHATWG HTML, 9.2.6), as text. */
async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  let data = [];
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const lines = (rest + value).split(/\r\n|\n|\r(?!$)/);
      rest = lines.pop();
      for (const line of lines) {
        if (line.startsWith("data:")) data.push(line.slice(line[5] === " " ? 6 : 5));
        else if (line === "" && data.length) {
          yield data.join("\n");
          data = [];
        }
      }
    }
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Trouble("The connection broke before the answer was complete.");
  } finally {
    reader.cancel().catch(() => {});
  }
}
