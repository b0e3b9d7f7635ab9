// From a conversation to the body of POST v1/chat/completions, and from chunks to a message.

// Calls of an answer that nobody has answered yet.
export function openCalls(messages) {
  const last = messages.findLastIndex((m) => m.role === 'assistant');
  if (last < 0) return [];
  const answered = new Set(messages.slice(last + 1).map((m) => m.tool_call_id));
  return (messages[last].calls || []).filter((c) => !answered.has(c.id));
}

function wireMessage(m) {
  if (m.role !== 'assistant') return m;
  const calls = m.calls || [];
  if (!m.content && calls.length === 0) return null; // failed, or stopped while it thought
  const out = { role: 'assistant', content: m.content || (calls.length ? null : '') };
  if (m.reasoning) out.reasoning_content = m.reasoning;
  if (calls.length) {
    out.tool_calls = calls.map((c) => (
      { id: c.id, type: 'function', function: { name: c.name, arguments: c.args } }));
  }
  return out;
}

const MAX_CALLS = 128;
const SETTINGS = { temperature: Number, top_p: Number, max_tokens: Number, seed: Number };

export function requestOf(conversation) {
  const s = conversation.settings;
  const messages = conversation.messages.map(wireMessage).filter((m) => m !== null);
  if (s.system.trim()) messages.unshift({ role: 'system', content: s.system });
  const request = { messages, stream: true, stream_options: { include_usage: true } };
  if (s.model) request.model = s.model; // else the server has not said yet: its default
  if (s.thinking === 'off') {
    request.thinking = { type: 'disabled' };
  } else {
    request.thinking = { type: 'enabled' };
    request.reasoning_effort = s.thinking;
  }
  for (const [name, read] of Object.entries(SETTINGS)) {
    if (String(s[name]).trim() !== '') request[name] = read(s[name]);
  }
  const tools = parseTools(s.tools);
  if (tools.length) request.tools = tools;
  return request;
}

// A list of tools as OpenAI writes them; a bare function is wrapped. Throws with words for people.
export function parseTools(text) {
  if (!text.trim()) return [];
  let list;
  try { list = JSON.parse(text); } catch (error) {
    throw new Error('This is no JSON: ' + error.message);
  }
  if (!Array.isArray(list)) throw new Error('A list is expected: [ … ].');
  return list.map((t) => {
    const tool = t && t.name && !t.function ? { type: 'function', function: t } : t;
    if (!tool || typeof tool !== 'object' || !tool.function || !tool.function.name) {
      throw new Error('Each tool needs "function" with a "name".');
    }
    return tool;
  });
}

export function newAnswer(model) {
  return { role: 'assistant', content: '', reasoning: '', calls: [], model };
}

// Add a chunk of the stream to the message; `ms` since the request was sent.
export function takeChunk(message, chunk, ms) {
  if (chunk.usage) message.usage = chunk.usage;
  const choice = chunk.choices && chunk.choices[0];
  if (!choice) return;
  const delta = choice.delta || {};
  const reasoning = delta.reasoning_content || delta.reasoning;
  const calls = delta.tool_calls || [];
  if (reasoning || delta.content || calls.length) {
    message.firstMs ??= ms;
    message.lastMs = ms;
  }
  if (reasoning) message.reasoning += reasoning;
  if (delta.content || calls.length) {
    if (message.reasoning) message.thoughtMs ??= ms - message.firstMs;
  }
  if (delta.content) message.content += delta.content;
  for (const part of calls) takeCall(message, part);
  if (choice.finish_reason) message.finish = choice.finish_reason;
}

function takeCall(message, part) {
  if (!(part.index >= 0 && part.index < MAX_CALLS)) return;
  const call = message.calls[part.index] ??= { id: '', name: '', args: '' };
  if (part.id) call.id = part.id;
  const f = part.function || {};
  if (f.name) call.name += f.name;
  if (f.arguments) call.args += f.arguments;
}

const MIN_TIMED_MS = 200; // over less, what arrives together says nothing about speed

// The numbers under an answer: [short text, …].
export function usageFacts(message, { number, duration }) {
  const facts = [];
  const u = message.usage;
  if (u) {
    facts.push(number(u.completion_tokens) + ' tokens');
    const ms = message.lastMs - message.firstMs;
    if (ms >= MIN_TIMED_MS) {
      facts.push(number((u.completion_tokens - 1) / (ms / 1000)) + ' tokens/s');
    }
  }
  if (message.firstMs !== undefined) facts.push('first after ' + duration(message.firstMs));
  if (u) {
    const details = u.prompt_tokens_details || {};
    const cached = details.cached_tokens ?? u.prompt_cache_hit_tokens;
    facts.push('prompt ' + number(u.prompt_tokens) + (cached ? ', ' + number(cached) + ' cached' : ''));
  }
  return facts;
}
