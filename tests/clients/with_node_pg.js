// node-postgres: parameters, prepared statements, transactions, errors. Takes a DSN.
'use strict';
const assert = require('node:assert');
const { Client, Pool } = require('pg');

const parts = Object.fromEntries(process.argv[2].split(' ').map((part) => part.split('=')));
const settings = { host: parts.host, port: Number(parts.port), user: parts.user, database: parts.dbname };

async function main() {
  const client = new Client(settings);
  await client.connect();
  await client.query('DROP TABLE IF EXISTS node_rows');
  await client.query('CREATE TABLE node_rows (id int PRIMARY KEY, v text, at timestamptz, d jsonb, n numeric)');
  for (let id = 0; id < 20; id++) {
    const values = [id, `v${id}`, new Date(Date.UTC(2024, 0, id + 1)), { id }, `${id}.50`];
    const done = await client.query('INSERT INTO node_rows VALUES ($1, $2, $3, $4, $5)', values);
    assert.strictEqual(done.rowCount, 1);
  }
  const { rows, fields } = await client.query('SELECT * FROM node_rows WHERE id = $1', [3]);
  assert.deepStrictEqual(fields.map((field) => field.name), ['id', 'v', 'at', 'd', 'n']);
  assert.strictEqual(rows[0].at.toISOString(), '2024-01-04T00:00:00.000Z');
  assert.deepStrictEqual([rows[0].v, rows[0].d, rows[0].n], ['v3', { id: 3 }, '3.50']);
  for (let n = 0; n < 5; n++) {
    const named = { name: 'one', text: 'SELECT v FROM node_rows WHERE id = $1', values: [n] };
    assert.strictEqual((await client.query(named)).rows[0].v, `v${n}`);
  }
  const list = await client.query({ text: 'SELECT id, v FROM node_rows WHERE id = ANY($1) ORDER BY id', values: [[1, 2]], rowMode: 'array' });
  assert.deepStrictEqual(list.rows, [[1, 'v1'], [2, 'v2']]);
  await assert.rejects(client.query('INSERT INTO node_rows (id) VALUES (1)'), { code: '23505', constraint: 'node_rows_pkey' });
  await client.query('BEGIN');
  await client.query('DELETE FROM node_rows');
  await assert.rejects(client.query('SELECT nosuch'), { code: '42703' });
  await assert.rejects(client.query('SELECT 1'), { code: '25P02' });
  await client.query('ROLLBACK');
  assert.strictEqual((await client.query('SELECT count(*)::int AS n FROM node_rows')).rows[0].n, 20);
  const several = await client.query('SELECT 1 AS a; SELECT 2 AS b');
  assert.deepStrictEqual(several.map((answer) => answer.rows[0]), [{ a: 1 }, { b: 2 }]);
  const pool = new Pool({ ...settings, max: 5 });
  const answers = await Promise.all([...Array(30).keys()].map((n) => pool.query('SELECT $1::int AS n', [n])));
  assert.deepStrictEqual(answers.map((answer) => answer.rows[0].n), [...Array(30).keys()]);
  await pool.end();
  await client.query('DROP TABLE node_rows');
  await client.end();
}

main().then(() => process.exit(0), (error) => {
  console.error(error);
  process.exit(1);
});
