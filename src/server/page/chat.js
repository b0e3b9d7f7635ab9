// The chat: the list of conversations, the messages of the one that is open, and the runs that
// fill them. A run belongs to its conversation and goes on when another one is opened.

import * as api from './api.js';
import { $, announce, ask, el, isNumber, number, toast } from './dom.js';
import { AnswerView, editView, userView } from './messages.js';
import { newAnswer, openCalls, requestOf, takeChunk } from './request.js';
import * as store from './store.js';

const REDRAW_MS = 50;
const SAVE_MS = 2000;
const SUGGESTIONS = ['What is 4718 + 2963?', 'Why is the deep sea dark?',
  'Write a C function that counts the characters of a UTF-8 string.'];

const isTouch = matchMedia('(pointer: coarse)'); // there, focus brings up a keyboard

let current = null; // the conversation that is open
let modelList = [];
let isAsked = false; // the server has said which models there are, or that it does not
let answers = []; // AnswerView of each message of the assistant, in order
let isFollowing = true; // the end of the messages stays in sight
const runs = new Map(); // conversation id -> {abort, message, begin}

// ---- the list at the side ----

export function showList() {
  const items = store.list().map((c) => el('li', null,
    el('a', { href: '#chat/' + c.id, 'aria-current': current && c.id === current.id ? 'true' : null },
      store.titleOf(c))));
  $('chat-list').replaceChildren(...items);
  const title = store.titleOf(current);
  $('chat-title').textContent = title;
  $('chat-actions').hidden = !store.get(current.id);
  document.title = location.hash === '#server' ? 'Server – hadal' : title + ' – hadal';
}

export function currentId() {
  return current && store.get(current.id) ? current.id : null;
}

export function open(id) {
  const found = id ? store.get(id) : null;
  if (current && (found ? found === current : !store.get(current.id))) return showList();
  current = found || store.create();
  isFollowing = true;
  showSettings();
  showMessages();
  showList();
}

// Forget what is open, for it was deleted.
export function close() {
  current = null;
}

// ---- messages ----

function results() {
  const tools = current.messages.filter((m) => m.role === 'tool');
  return new Map(tools.map((m) => [m.tool_call_id, m.content]));
}

function showMessages() {
  answers = [];
  const nodes = current.messages.map((m, i) => {
    if (m.role === 'user') return userView(m, () => edit(i));
    if (m.role !== 'assistant') return null;
    const view = new AnswerView(m, { again: () => again(i), results: (list) => run(list) });
    answers.push(view);
    return view.node;
  });
  $('messages').replaceChildren(...nodes.filter(Boolean));
  for (const view of answers) refresh(view);
  showRunning();
  toEnd();
}

function refresh(view) {
  const active = runs.get(current.id);
  const isRunning = Boolean(active) && active.message === view.message;
  view.update({
    isRunning, elapsedMs: isRunning ? performance.now() - active.begin : 0, results: results(),
    isLast: view === answers.at(-1) && current.messages.at(-1).role !== 'user',
  });
}

function showRunning() {
  const isRunning = runs.has(current.id);
  $('send').hidden = isRunning;
  $('stop').hidden = !isRunning;
  $('welcome').hidden = current.messages.length > 0;
  showContext();
}

function toEnd() {
  const scroller = $('scroller');
  if (isFollowing) scroller.scrollTop = scroller.scrollHeight;
  $('to-end').hidden = isFollowing;
}

// How much of the model's context the conversation fills, by the last usage.
function showContext() {
  const last = current.messages.findLast((m) => m.usage);
  const model = modelList.find((m) => m.id === $('model').value);
  const max = model && model.context_length;
  $('context').hidden = !last || !isNumber(max);
  if ($('context').hidden) return;
  const used = last.usage.prompt_tokens + last.usage.completion_tokens;
  $('context-text').textContent = number(used) + ' of ' + number(max) + ' tokens';
  $('context-bar').setAttribute('width', Math.min(60, Math.max(2, 60 * used / max)));
}

function edit(index) {
  if (runs.has(current.id)) return toast('Stop the answer first.');
  const conversation = current;
  const message = conversation.messages[index];
  const { node, focus } = editView(message, (text) => {
    if (text === null) return showMessages();
    conversation.messages.length = index;
    run([{ role: 'user', content: text }]);
  });
  // Positions on the page: messages of tools have no node of their own.
  const before = conversation.messages.slice(0, index).filter((m) => m.role !== 'tool').length;
  $('messages').children[before].replaceWith(node);
  focus();
}

function again(index) {
  if (runs.has(current.id)) return;
  current.messages.length = index;
  run([]);
}

// ---- a run: from a request to the end of its stream ----

// Add messages to the open conversation and let the model answer.
async function run(added) {
  const conversation = current;
  conversation.messages.push(...added);
  const message = newAnswer(conversation.settings.model);
  let request;
  try {
    request = requestOf(conversation);
  } catch (error) {
    conversation.messages.length -= added.length;
    return toast('Tools in the settings: ' + error.message);
  }
  conversation.messages.push(message);
  store.save(conversation);
  const active = { abort: new AbortController(), message, begin: performance.now() };
  runs.set(conversation.id, active);
  history.replaceState(null, '', '#chat/' + conversation.id);
  isFollowing = true;
  showMessages();
  showList();
  if (!isTouch.matches) $('prompt').focus();
  announce('The model answers.');
  const clock = setInterval(() => redraw(conversation), 1000);
  const keep = setInterval(() => {
    if (store.get(conversation.id)) store.save(conversation, false);
  }, SAVE_MS);
  try {
    for await (const chunk of api.complete(request, active.abort.signal)) {
      takeChunk(message, chunk, performance.now() - active.begin);
      redraw(conversation);
    }
    message.finish ??= 'stop';
  } catch (error) {
    fail(message, error);
  }
  message.calls = message.calls.filter(Boolean);
  clearInterval(clock);
  clearInterval(keep);
  finish(conversation, active);
}

function fail(message, error) {
  if (error.name === 'AbortError') {
    message.stopped = true;
  } else {
    message.error = error.message;
    message.status = error.status;
    if (error.retryAfter) message.error += ' Try again in ' + error.retryAfter + ' s.';
  }
  message.calls = []; // not whole: nobody can answer them
}

async function finish(conversation, active) {
  const { message } = active;
  runs.delete(conversation.id);
  if (!store.get(conversation.id)) return; // deleted meanwhile
  store.save(conversation);
  if (conversation === current) {
    answers.forEach(refresh);
    showRunning();
    toEnd();
  }
  showList();
  announce(summary(message));
  if (message.status === 401 && await askKey() && conversation === current) {
    again(conversation.messages.indexOf(message));
  }
}

function summary(message) {
  if (message.error) return 'Error: ' + message.error;
  if (message.stopped) return 'Stopped.';
  const calls = message.calls.map((c) => c.name);
  if (calls.length) return 'The model calls ' + calls.join(', ') + ' and waits for the result.';
  return 'The answer is complete, ' + message.content.split(/\s+/).length + ' words.';
}

let redrawTimer = 0;
function redraw(conversation) {
  if (redrawTimer || conversation !== current) return;
  redrawTimer = setTimeout(() => {
    redrawTimer = 0;
    if (conversation !== current || !runs.has(conversation.id)) return;
    refresh(answers.at(-1));
    toEnd();
  }, REDRAW_MS);
}

export function stop() {
  const active = runs.get(current.id);
  if (active) active.abort.abort();
  return Boolean(active);
}

export function stopAll() {
  for (const active of runs.values()) active.abort.abort();
}

// ---- settings of the open conversation ----

function showSettings() {
  $('thinking').value = current.settings.thinking;
  showModels();
}

// Change settings of this conversation; new ones begin with them too.
export function change(values) {
  Object.assign(current.settings, values);
  if (store.get(current.id)) store.save(current, false);
  store.saveSettings(current.settings);
}

export const settings = () => current.settings;

function showModels() {
  const select = $('model');
  const wanted = current.settings.model;
  select.replaceChildren(...modelList.map((m) => el('option', { value: m.id }, m.id)));
  if (!modelList.length) select.append(el('option', { value: '' }, isAsked ? 'no model' : '…'));
  if (modelList.some((m) => m.id === wanted)) select.value = wanted;
  else current.settings.model = select.value;
  const model = modelList.find((m) => m.id === select.value);
  $('welcome-model').textContent = !model ? ''
    : isNumber(model.context_length)
      ? `${model.id} reads up to ${number(model.context_length)} tokens.` : model.id;
  showContext();
}

// Ask for a key until the server takes one; false when the user gives up.
async function askForKey() {
  for (;;) {
    const isGiven = await ask($('key'));
    const key = $('key-text').value.trim();
    $('key-text').value = '';
    if (!isGiven || !key) return false;
    api.setApiKey(key);
    if (await tryModels() !== 401) return true;
  }
}

// Chat and live view may both want one: they are answered by the same dialog.
let asking = null;
export function askKey() {
  asking ??= askForKey().finally(() => { asking = null; });
  return asking;
}

// Returns 401 when a key is needed.
async function tryModels() {
  try {
    modelList = await api.models();
  } catch (error) {
    if (error.status === 401) return 401;
    toast(error.message);
  }
  isAsked = true;
  showModels();
  return 200;
}

export async function loadModels() {
  if (await tryModels() === 401) await askKey();
}

// ---- wiring ----

function send() {
  const text = $('prompt').value;
  if (!text.trim() || runs.has(current.id)) return;
  if (openCalls(current.messages).length) return toast('The tool call waits for its result.');
  $('prompt').value = '';
  fit();
  run([{ role: 'user', content: text }]);
}

function fit() {
  const area = $('prompt');
  area.style.height = 'auto';
  area.style.height = Math.min(area.scrollHeight, innerHeight * 0.4) + 'px';
}

function wireComposer() {
  $('composer').addEventListener('submit', (event) => {
    event.preventDefault();
    send();
  });
  $('prompt').addEventListener('input', fit);
  $('prompt').addEventListener('keydown', (event) => {
    if (event.key !== 'Enter' || event.shiftKey || event.isComposing || isTouch.matches) return;
    event.preventDefault();
    send();
  });
  $('stop').addEventListener('click', stop);
  $('model').addEventListener('change', () => {
    change({ model: $('model').value });
    showModels();
  });
  $('thinking').addEventListener('change', () => change({ thinking: $('thinking').value }));
}

function wireScroller() {
  const scroller = $('scroller');
  scroller.addEventListener('scroll', () => {
    isFollowing = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < 80;
    $('to-end').hidden = isFollowing;
  });
  $('to-end').addEventListener('click', () => {
    isFollowing = true;
    toEnd();
    scroller.focus();
  });
}

function exportChat() {
  const blob = new Blob([JSON.stringify(current, null, 2) + '\n'], { type: 'application/json' });
  const name = store.titleOf(current).replace(/[^\p{L}\p{N}]+/gu, '-').slice(0, 40) || 'chat';
  const link = el('a', { href: URL.createObjectURL(blob), download: 'hadal-' + name + '.json' });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

async function renameChat() {
  $('rename-text').value = store.titleOf(current);
  if (!await ask($('rename'))) return;
  current.title = $('rename-text').value.trim();
  store.save(current, false);
  showList();
}

async function deleteChat() {
  $('confirm-title').textContent = 'Delete “' + store.titleOf(current) + '”?';
  if (!await ask($('confirm'))) return;
  stop();
  store.remove(current.id);
  close();
  location.hash = '#chat';
  open(null);
  $('prompt').focus();
}

// Another tab has changed what is kept.
function follow(event) {
  const id = store.refresh(event.key, runs);
  if (!id) return;
  if (id === current.id && store.get(id)) {
    current = store.get(id);
    showMessages();
  }
  showList();
}

export function wire() {
  window.addEventListener('storage', follow);
  wireComposer();
  wireScroller();
  $('rename-chat').addEventListener('click', renameChat);
  $('export-chat').addEventListener('click', exportChat);
  $('delete-chat').addEventListener('click', deleteChat);
  $('suggestions').append(...SUGGESTIONS.map((text) => el('li', null,
    el('button', { type: 'button', class: 'plain', onclick: () => {
      $('prompt').value = text;
      fit();
      $('prompt').focus();
    } }, text))));
}
