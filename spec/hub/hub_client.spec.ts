import assert from 'node:assert/strict';
import { HubClient } from '../../lib/hub/hub_client.js';
import { HubError } from '../../lib/hub/hub_error.js';
import { isHubId } from '../../lib/hub/hub_id.js';
import { HubServer, refuse, sendJson, TOKEN } from '../support/hub_server.js';

describe('HubClient', () => {
  let server: HubServer;
  let commit: string;
  const client = (options: { token?: string; timeout?: number } = {}) =>
    new HubClient({ endpoint: server.endpoint, timeout: 20_000, firstPause: 1, ...options });
  const list = (id: string, revision = 'main', retries = 2) => client().list(id, revision, { retries });
  beforeEach(async () => {
    server = await HubServer.start();
    commit = server.push('owner/model', { 'config.json': '{}', 'unet/model.safetensors': 'weights' }, { refs: ['main', 'refs/pr/1'] });
  });
  afterEach(() => server.close());

  it('knows what may be an id', () => {
    for (const id of ['owner/name', 'stable-diffusion-v1-5/stable-diffusion-v1-5', 'a/b.c_d-1']) assert.ok(isHubId(id), id);
    const others = ['name', './name', '../name', 'a/b/c', '/a/b', 'a/', 'a\\b', 'a/..', 'a/b--c', 'a/b..c', 'a/b.git', '-a/b', 'a/b.', 'ä/b', 'a b/c', `a/${'b'.repeat(97)}`];
    for (const id of others) assert.ok(!isHubId(id), id);
  });

  it('lists the files of a branch, a pull request and a commit', async () => {
    for (const revision of ['main', 'refs/pr/1', commit]) {
      const listing = await list('owner/model', revision);
      assert.equal(listing.commit, commit);
      assert.deepEqual(Object.fromEntries(listing.files), {
        'config.json': { size: 2, etag: '9e26dfeeb6e641a33dae4961196235bdb965b21b' },
        'unet/model.safetensors': { size: 7, etag: '9a129038d9a00aed0cf6a7ea059ca50a813449061ab87848cf1a13eafdf33b2c' },
      });
    }
  });

  it('follows a list over several pages', async () => {
    server.pageSize = 2;
    server.push('owner/large', Object.fromEntries(Array.from({ length: 7 }, (_, i) => [`${i}.json`, '{}'])));
    assert.equal((await list('owner/large')).files.size, 7);
  });

  it('says in one line what is missing or refused, and what to do', async () => {
    server.push('owner/secret', {}, { access: 'private' });
    const cases: Array<[id: string, revision: string, token: string | undefined, message: string]> = [
      ['owner/none', 'main', undefined, `owner/none: there is no such folder here, and no such model on ${server.endpoint}, or it is private: look at ${server.endpoint}/owner/none; for a private one pass token or set HF_TOKEN (tokens are made on ${server.endpoint}/settings/tokens)`],
      ['owner/secret', 'main', undefined, `owner/secret: there is no such folder here, and no such model on ${server.endpoint}, or it is private: look at ${server.endpoint}/owner/secret; for a private one pass token or set HF_TOKEN (tokens are made on ${server.endpoint}/settings/tokens)`],
      ['owner/none', 'main', TOKEN, `owner/none: there is no such folder here, and no such model on ${server.endpoint}, or it is private: look at ${server.endpoint}/owner/none; for a private one use a token that may read it`],
      ['owner/model', 'v9', undefined, `owner/model: has no revision 'v9'; its branches and tags are on ${server.endpoint}/owner/model/tree/main`],
      ['owner/model', 'main', 'hf_old', `owner/model: ${server.endpoint} does not accept the token: pass token or set HF_TOKEN (tokens are made on ${server.endpoint}/settings/tokens)`],
    ];
    for (const [id, revision, token, message] of cases) {
      const before = server.requests.length;
      await assert.rejects(client({ token }).list(id, revision, { retries: 5 }), (error: unknown) => error instanceof HubError && error.message === message);
      assert.equal(server.requests.length, before + 1, 'a refusal is final');
    }
    assert.equal((await client({ token: TOKEN }).list('owner/secret', 'main', { retries: 0 })).files.size, 0);
  });

  it('repeats what fails for a while, with pauses that grow', async () => {
    const at: number[] = [];
    server.intercept = (_, response) => {
      at.push(performance.now());
      if (at.length > 4) return false;
      if (at.length < 3) refuse(response, 503);
      else response.destroy();
      return true;
    };
    const patient = new HubClient({ endpoint: server.endpoint, timeout: 20_000, firstPause: 20 });
    assert.equal((await patient.list('owner/model', 'main', { retries: 4 })).commit, commit);
    for (const [i, least] of [20, 40, 80, 160].entries()) assert.ok(at[i + 1] - at[i] >= least - 2, `pause ${i}: ${at[i + 1] - at[i]} ms`);
    server.intercept = (_, response) => { refuse(response, 503); return true; };
    await assert.rejects(list('owner/model'), { name: 'HubError', message: `owner/model: ${server.endpoint} answers 503: try again later` });
  });

  it('waits as long as the hub asks for, within reason', async () => {
    let asked = 0;
    server.intercept = (_, response) => {
      if (asked++ > 0) return false;
      response.setHeader('Retry-After', '1');
      refuse(response, 429);
      return true;
    };
    const started = performance.now();
    await list('owner/model');
    assert.ok(performance.now() - started >= 990);
    server.intercept = (_, response) => {
      response.setHeader('Retry-After', new Date(Date.now() + 7200_000).toUTCString());
      refuse(response, 429);
      return true;
    };
    await assert.rejects(list('owner/model'), /answers 429 and asks to wait (7200|719\d) s: try again later, or pass token or set HF_TOKEN/);
  });

  it('gives up a connection on which nothing comes', async () => {
    server.intercept = () => true;
    await assert.rejects(client({ timeout: 50 }).list('owner/model', 'main', { retries: 1 }), {
      message: `owner/model: ${server.endpoint} cannot be reached: nothing came for 0.05 s`,
    });
    assert.equal(server.requests.length, 2);
    server.intercept = (_, response) => { response.writeHead(200).write('['); return true; };
    await assert.rejects(client({ timeout: 50 }).list('owner/model', commit, { retries: 0 }), /nothing came for 0.05 s/);
  });

  it('ends when aborted, also in a pause', async () => {
    server.intercept = (_, response) => { response.setHeader('Retry-After', '200'); refuse(response, 503); return true; };
    const controller = new AbortController();
    const listing = client().list('owner/model', 'main', { retries: 5, signal: controller.signal });
    setTimeout(() => controller.abort(), 50);
    await assert.rejects(listing, { name: 'AbortError' });
  });

  it('says why there is no connection', async () => {
    const { endpoint } = server;
    await server.close();
    await assert.rejects(new HubClient({ endpoint, timeout: 20_000, firstPause: 1 }).list('owner/model', 'main', { retries: 1 }), {
      message: `owner/model: ${endpoint} cannot be reached: connect ECONNREFUSED ${endpoint.slice('http://'.length)}`,
    });
    server = await HubServer.start();
  });

  it('sends the token to the hub alone, never where the hub leads', async () => {
    const other = await HubServer.start();
    other.intercept = (_, response) => { sendJson(response, []); return true; };
    server.intercept = ({ path }, response) => {
      if (path.includes('/tree/')) response.setHeader('Link', `<${other.endpoint}/next>; rel="next"`);
      if (path.endsWith('/revision/main')) response.writeHead(307, { Location: '/api/models/owner/model/revision/v1' }).end();
      return path.endsWith('/revision/main');
    };
    server.push('owner/model', { 'config.json': '{}', 'unet/model.safetensors': 'weights' }, { refs: ['v1'] });
    const listing = await client({ token: TOKEN }).list('owner/model', 'main', { retries: 0 }).finally(() => other.close());
    assert.ok(server.requests.every(({ authorization }) => authorization === `Bearer ${TOKEN}`));
    assert.deepEqual(other.requests.map(({ path, authorization }) => [path, authorization]), [['/next', undefined]]);

    const url = client().fileUrl('owner/model', commit, 'unet/model.safetensors');
    await client({ token: TOKEN }).get('owner/model', url, { missing: 'it', receive: async () => undefined });
    assert.deepEqual(server.requests.slice(-2).map(({ host, authorization }) => [host, authorization]), [['hub', `Bearer ${TOKEN}`], ['cdn', undefined]]);
    assert.equal(listing.commit, commit);
  });

  it('takes only what a hub could answer', async () => {
    const answer = (value: unknown) => {
      server.intercept = ({ path }, response) => {
        if (typeof value === 'string') response.end(value);
        else if (Array.isArray(value) && path.includes('/revision/')) return false;
        else sendJson(response, value);
        return true;
      };
      return list('owner/model');
    };
    const unlike = new RegExp(`^HubError: owner/model: ${server.endpoint} does not answer as a hub does: .*; check endpoint or HF_ENDPOINT$`);
    for (const value of ['<html>log in</html>', '', 'null', {}, { sha: '../../x' }, { sha: 1 }, 5, [null]]) await assert.rejects(answer(value), unlike, JSON.stringify(value));
    const entry = { type: 'file', path: 'a.json', size: 1, oid: '0'.repeat(40) };
    const odd = [
      { ...entry, path: 1 }, { ...entry, size: -1 }, { ...entry, size: 1.5 }, { ...entry, size: '1' }, { ...entry, oid: '../a' }, { ...entry, oid: undefined },
      { ...entry, lfs: { oid: 'A'.repeat(64), size: 1 } }, { ...entry, lfs: { oid: '0'.repeat(64) } }, { ...entry, type: 'directory' }, {},
    ];
    assert.deepEqual([...(await answer([...odd, { ...entry, path: 'b.json' }])).files.keys()], ['b.json']);
    server.intercept = ({ path }, response) => {
      if (path.includes('/revision/')) return false;
      response.setHeader('Link', `<${server.endpoint}/api/models/owner/model/tree/main>; rel="next"`);
      sendJson(response, []);
      return true;
    };
    await assert.rejects(list('owner/model'), /its list of files at .* does not end/);
  });
});
