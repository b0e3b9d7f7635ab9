// What the page asks of the server: models, statistics, and the stream of an answer.
// Addresses are relative to the page, so that it works behind a proxy that adds a path.

const KEY = 'hadal.key'; // in sessionStorage: gone with the tab, never sent to any other host

export class ApiError extends Error {
  constructor(message, status, retryAfter) {
    super(message);
    this.status = status; // 0: no answer at all, or an error inside a stream
    this.retryAfter = retryAfter;
  }
}

let memoryKey = ''; // where sessionStorage is refused

export function apiKey() {
  try { return sessionStorage.getItem(KEY) || memoryKey; } catch { return memoryKey; }
}

export function setApiKey(key) {
  memoryKey = key;
  try {
    if (key) sessionStorage.setItem(KEY, key);
    else sessionStorage.removeItem(KEY);
  } catch { /* kept in memory */ }
}

async function send(path, init) {
  const headers = { ...init.headers };
  if (apiKey()) headers.Authorization = 'Bearer ' + apiKey();
  let response;
  try {
    response = await fetch(new URL(path, document.baseURI), { ...init, headers, cache: 'no-store' });
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    throw new ApiError('The server cannot be reached.', 0);
  }
  if (!response.ok) throw await refusal(response);
  return response;
}

// The error body, {"error": {"message": …}}, or what can be said without one.
async function refusal(response) {
  let message = '';
  try {
    message = (await response.json()).error.message;
  } catch { /* no JSON, or another shape */ }
  if (typeof message !== 'string' || !message) message = 'The server refused the request.';
  return new ApiError(message, response.status, Number(response.headers.get('retry-after')) || 0);
}

export async function models() {
  const list = (await (await send('v1/models', {})).json()).data;
  return Array.isArray(list) ? list.filter((m) => m && typeof m.id === 'string') : [];
}

export async function stats(signal) {
  return (await send('stats', { signal })).json();
}

// The data of each server-sent event; null for a comment, which is a sign of life.
async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  let data = [];
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const lines = (rest + value).split('\n');
      rest = lines.pop();
      for (let line of lines) {
        if (line.endsWith('\r')) line = line.slice(0, -1);
        if (line === '') {
          if (data.length) yield data.join('\n');
          data = [];
        } else if (line.startsWith(':')) {
          yield null;
        } else if (line.startsWith('data:')) {
          data.push(line.slice(line[5] === ' ' ? 6 : 5));
        }
      }
    }
  } finally {
    reader.cancel().catch(() => {}); // closes the connection when the reader of this one leaves
  }
}

// The chunks of a chat completion. Ends at [DONE]; throws ApiError when the server says error, or
// when the stream breaks off.
export async function* complete(request, signal) {
  const response = await send('v1/chat/completions', {
    method: 'POST', signal, body: JSON.stringify(request),
    headers: { 'Content-Type': 'application/json' },
  });
  try {
    for await (const data of events(response.body)) {
      if (data === null) continue;
      if (data === '[DONE]') return;
      const chunk = JSON.parse(data);
      if (chunk.error) throw new ApiError(chunk.error.message || 'The answer failed.', 0);
      yield chunk;
    }
  } catch (error) {
    if (error.name === 'AbortError' || error instanceof ApiError) throw error;
    throw new ApiError('The connection to the server broke off.', 0);
  }
  throw new ApiError('The answer broke off before its end.', 0);
}
