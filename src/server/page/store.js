// Conversations and settings, kept in this browser's localStorage and nowhere else.
//
// hadal.chat.<id>   one conversation: {id, title, created, updated, settings, messages}
// hadal.settings    settings that a new conversation begins with
// hadal.theme       "light" or "dark"; absent: as the system
//
// Messages: {role: "user", content} | {role: "tool", tool_call_id, content} | {role: "assistant",
// content, reasoning, calls: [{id, name, args}], model, usage, firstMs, thoughtMs, totalMs,
// finish, error, stopped}.

import { toast } from './dom.js';

const CHAT = 'hadal.chat.';

export const DEFAULTS = {
  model: '', thinking: 'high', system: '', temperature: '', top_p: '', max_tokens: '', seed: '',
  tools: '',
};

const chats = new Map();

function read(key) {
  try { return JSON.parse(localStorage.getItem(key)); } catch { return null; }
}

function write(key, value) {
  try {
    localStorage.setItem(key, JSON.stringify(value));
  } catch {
    toast('This browser keeps no more conversations: delete some, or export them.');
  }
}

function isConversation(c) {
  return c && typeof c.id === 'string' && Array.isArray(c.messages);
}

function keys() {
  try { return Object.keys(localStorage).filter((k) => k.startsWith(CHAT)); } catch { return []; }
}

function take(key) {
  const c = read(key);
  if (!isConversation(c)) return;
  c.settings = { ...DEFAULTS, ...c.settings };
  for (const m of c.messages) {
    if (m.role === 'assistant' && !m.finish && !m.error) m.stopped = true; // the page was left
  }
  chats.set(c.id, c);
}

export function load() {
  for (const key of keys()) take(key);
}

// Read what another tab wrote or removed, unless it is in `busy` here. Returns the id, or null.
export function refresh(key, busy) {
  if (!key || !key.startsWith(CHAT)) return null;
  const id = key.slice(CHAT.length);
  if (busy.has(id)) return null;
  chats.delete(id);
  take(key);
  return id;
}

// Newest first.
export function list() {
  return [...chats.values()].sort((a, b) => b.updated - a.updated);
}

export const get = (id) => chats.get(id);

export function create() {
  const now = Date.now();
  const id = crypto.getRandomValues(new Uint32Array(2)).join('-');
  return { id, title: '', created: now, updated: now, settings: settings(), messages: [] };
}

export function save(c, isTouched = true) {
  if (isTouched) c.updated = Date.now();
  chats.set(c.id, c);
  write(CHAT + c.id, c);
}

export function remove(id) {
  chats.delete(id);
  try { localStorage.removeItem(CHAT + id); } catch { /* was never kept */ }
}

export function removeAll() {
  for (const id of [...chats.keys()]) remove(id);
}

export function settings() {
  return { ...DEFAULTS, ...read('hadal.settings') };
}

export function saveSettings(s) {
  write('hadal.settings', s);
}

// What the list shows for a conversation that nobody has named.
export function titleOf(c) {
  if (c.title) return c.title;
  const first = c.messages.find((m) => m.role === 'user');
  const line = first ? first.content.trim().split('\n', 1)[0] : '';
  return line.length > 60 ? line.slice(0, 59).trimEnd() + '…' : line || 'New chat';
}
