// The page as a whole: which view is open, the drawer of narrow screens, theme, settings, dialogs.

import * as api from './api.js';
import * as chat from './chat.js';
import { $, announce, answer, ask, toast } from './dom.js';
import { parseTools } from './request.js';
import * as stats from './stats.js';
import * as store from './store.js';

const EXAMPLE_TOOLS = [{
  type: 'function',
  function: {
    name: 'get_weather',
    description: 'The weather in a city, now.',
    parameters: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] },
  },
}];

// ---- views: #chat, #chat/<id>, #server ----

function route() {
  const isServer = location.hash === '#server';
  const [, id] = /^#chat\/(.+)$/.exec(location.hash) || [];
  if (!isServer) chat.open(id);
  chat.showList();
  $('view-chat').hidden = isServer;
  $('view-server').hidden = !isServer;
  for (const [tab, isHere] of [['tab-chat', !isServer], ['tab-server', isServer]]) {
    if (isHere) $(tab).setAttribute('aria-current', 'page');
    else $(tab).removeAttribute('aria-current');
  }
  const open = chat.currentId();
  $('tab-chat').href = open ? '#chat/' + open : '#chat';
  document.body.dataset.view = isServer ? 'server' : 'chat';
  stats.watch(isServer);
  showDrawer(false);
}

function newChat() {
  location.hash = '#chat';
  chat.open(null);
  showDrawer(false);
  $('prompt').focus();
}

// ---- the drawer ----

const isNarrow = matchMedia('(max-width: 760px)');

function showDrawer(isShown) {
  const wasShown = document.body.classList.contains('drawer');
  document.body.classList.toggle('drawer', isShown);
  $('menu').setAttribute('aria-expanded', String(isShown));
  $('shade').hidden = !isShown;
  $('side').inert = isNarrow.matches && !isShown;
  $('main').inert = isNarrow.matches && isShown;
  if (isShown) $('new-chat').focus();
  else if (wasShown && isNarrow.matches) $('menu').focus();
}

// ---- theme: as the system, light, dark ----

const THEMES = ['auto', 'light', 'dark'];

function showTheme() {
  const theme = document.documentElement.dataset.theme || 'auto';
  const words = theme === 'auto' ? 'as the system' : theme;
  $('open-theme').setAttribute('aria-label', 'Theme: ' + words);
  $('open-theme').title = 'Theme: ' + words;
  return theme;
}

function nextTheme() {
  const theme = THEMES[(THEMES.indexOf(showTheme()) + 1) % THEMES.length];
  const root = document.documentElement;
  if (theme === 'auto') delete root.dataset.theme;
  else root.dataset.theme = theme;
  try {
    if (theme === 'auto') localStorage.removeItem('hadal.theme');
    else localStorage.setItem('hadal.theme', theme);
  } catch { /* for this visit only */ }
  showTheme();
  announce($('open-theme').title);
}

// ---- settings ----

const FIELDS = ['system', 'temperature', 'top_p', 'max_tokens', 'seed', 'tools'];

// The trouble with the tools, shown below them; '' when they can be read.
function checkTools() {
  const note = $('s-tools-note');
  let trouble = '';
  try { parseTools($('s-tools').value); } catch (error) { trouble = error.message; }
  $('s-tools').setAttribute('aria-invalid', String(Boolean(trouble)));
  note.firstChild.data = (trouble || 'The model may call them; you write what they return.') + ' ';
  note.classList.toggle('wrong', Boolean(trouble));
  return trouble;
}

async function openSettings() {
  const form = $('settings-form');
  const now = chat.settings();
  for (const name of FIELDS) form.elements[name].value = now[name];
  $('s-key').value = api.apiKey();
  checkTools();
  await ask($('settings'));
  const wanted = Object.fromEntries(FIELDS.map((n) => [n, form.elements[n].value.trim()]));
  if (checkTools()) {
    wanted.tools = now.tools;
    toast('The tools were not changed: they cannot be read.');
  }
  chat.change(wanted);
  if ($('s-key').value.trim() !== api.apiKey()) {
    api.setApiKey($('s-key').value.trim());
    await chat.loadModels();
  }
}

async function deleteAll() {
  $('confirm-title').textContent = 'Delete all conversations?';
  if (!await ask($('confirm'))) return;
  answer($('settings'), false);
  chat.stopAll();
  store.removeAll();
  chat.close();
  newChat();
}

function wireSettings() {
  $('open-settings').addEventListener('click', openSettings);
  $('delete-all').addEventListener('click', deleteAll);
  $('s-tools').addEventListener('input', checkTools);
  $('tools-example').addEventListener('click', () => {
    $('s-tools').value = JSON.stringify(EXAMPLE_TOOLS, null, 2);
    checkTools();
  });
}

// Forms in dialogs never leave the page: they close their dialog with an answer.
function wireDialogs() {
  for (const dialog of document.querySelectorAll('dialog')) {
    dialog.querySelector('form').addEventListener('submit', (event) => {
      event.preventDefault();
      if (dialog.id === 'settings' && checkTools()) $('s-tools').focus();
      else answer(dialog, true);
    });
    for (const button of dialog.querySelectorAll('[data-close]')) {
      button.addEventListener('click', () => answer(dialog, false));
    }
    dialog.addEventListener('pointerdown', (event) => {
      const r = dialog.getBoundingClientRect();
      const isInside = event.clientX >= r.left && event.clientX <= r.right &&
        event.clientY >= r.top && event.clientY <= r.bottom;
      if (!isInside && event.target === dialog) answer(dialog, false);
    });
    dialog.addEventListener('close', () => { // by Escape
      if (!dialog.open) answer(dialog, false);
    });
  }
}

function wireKeys() {
  document.addEventListener('keydown', (event) => {
    if (event.key !== 'Escape' || event.defaultPrevented) return;
    if (document.querySelector('dialog[open]')) return;
    if (document.body.classList.contains('drawer')) showDrawer(false);
    else if (chat.stop()) event.preventDefault();
  });
}

// Not by its address: the part behind # says which view is open.
function skip(event) {
  event.preventDefault();
  $(document.body.dataset.view === 'server' ? 'server-title' : 'prompt').focus();
}

store.load();
chat.wire();
stats.wire(chat.askKey);
wireSettings();
wireDialogs();
wireKeys();
$('new-chat').addEventListener('click', newChat);
$('skip').addEventListener('click', skip);
$('menu').addEventListener('click', () => showDrawer(!document.body.classList.contains('drawer')));
$('shade').addEventListener('click', () => showDrawer(false));
$('open-theme').addEventListener('click', nextTheme);
isNarrow.addEventListener('change', () => showDrawer(false));
document.addEventListener('visibilitychange', () => stats.watch(location.hash === '#server'));
window.addEventListener('hashchange', route);
showTheme();
chat.open(null); // whatever view comes first
route();
chat.loadModels();
if (!isNarrow.matches && location.hash !== '#server') $('prompt').focus();
