import { createHash, randomBytes } from 'node:crypto';
import fc from 'fast-check';
import t from 'tap';
import { createVault, VaultError } from '../../src/credentials/vault.ts';

const OLD = randomBytes(32);
const NEW = randomBytes(32);
const bytes = fc.uint8Array({ maxLength: 4_000 }).map((array) => Buffer.from(array));

t.test('whatever was sealed opens again, in its own context only', async () => {
  const vault = createVault(NEW.toString('hex'));
  fc.assert(
    fc.property(bytes, fc.string(), fc.string(), (plain, context, other) => {
      const { ciphertext, keyId } = vault.seal(plain, context);
      if (!vault.open(ciphertext, keyId, context).equals(plain)) return false;
      const token = vault.sealToken(plain, context);
      if (vault.openToken(token, context)?.equals(plain) !== true) return false;
      return other === context || vault.openToken(token, other) === undefined;
    }),
  );
});

t.test('one flipped bit anywhere, a cut, or an addition does not open', async (t) => {
  const vault = createVault(NEW.toString('base64'));
  fc.assert(
    fc.property(bytes, fc.nat(), fc.nat(7), (plain, position, bit) => {
      const { ciphertext, keyId } = vault.seal(plain, 'c');
      const altered = Buffer.from(ciphertext);
      const at = position % altered.length;
      altered[at] = (altered[at] ?? 0) ^ (1 << bit);
      const refused = [altered, ciphertext.subarray(1), Buffer.concat([ciphertext, Buffer.from([0])])];
      return refused.every((sealed) => {
        try {
          vault.open(sealed, keyId, 'c');
          return false;
        } catch (error) {
          return error instanceof VaultError;
        }
      });
    }),
  );
  const token = vault.sealToken(Buffer.from('session'), 'c');
  for (let i = 0; i < token.length; i++) {
    for (const replacement of ['A', 'B', '_', '.', '']) {
      const changed = token.slice(0, i) + replacement + token.slice(i + 1);
      if (changed !== token) t.equal(vault.openToken(changed, 'c'), undefined);
    }
  }
  t.equal(vault.openToken(`${token}.`, 'c'), undefined, 'no second spelling of the same token');
  t.equal(vault.openToken(`${token.slice(0, 20)} ${token.slice(20)}`, 'c'), undefined);
});

t.test('garbage is refused without a decryption', async (t) => {
  const vault = createVault(NEW.toString('hex'));
  fc.assert(fc.property(fc.string({ maxLength: 200 }), (text) => vault.openToken(text, 'c') === undefined));
  const garbage = 'A'.repeat(200);
  const started = process.hrtime.bigint();
  for (let i = 0; i < 20_000; i++) vault.openToken(garbage, 'c');
  const micros = Number(process.hrtime.bigint() - started) / 1e3 / 20_000;
  t.ok(micros < 20, `${micros.toFixed(2)} µs each`);
});

t.test(
  'rotation: the old key opens, the new one seals, and without the old one the error names the remedy',
  async (t) => {
    const before = createVault(OLD.toString('hex'));
    const sealed = before.seal(Buffer.from('s3cret'), 'c');
    const token = before.sealToken(Buffer.from('session'), 'c');
    const rotated = createVault(`${NEW.toString('base64url')}, ${OLD.toString('base64')}`);
    t.equal(rotated.open(sealed.ciphertext, sealed.keyId, 'c').toString(), 's3cret');
    t.equal(rotated.openToken(token, 'c')?.toString(), 'session');
    t.equal(rotated.seal(Buffer.from('x'), 'c').keyId, createHash('sha256').update(NEW).digest('hex').slice(0, 8));
    t.throws(() => createVault(NEW.toString('hex')).open(sealed.ciphertext, sealed.keyId, 'c'), {
      name: 'VaultError',
      message: new RegExp(`sealed with key ${before.keyId}.*Append the old key`, 's'),
    });
    t.equal(createVault(NEW.toString('hex')).openToken(token, 'c'), undefined);
  },
);

t.test('what clients hold cannot be replayed as a stored secret, nor the reverse', async (t) => {
  const vault = createVault(NEW.toString('hex'));
  const token = Buffer.from(vault.sealToken(Buffer.from('x'), 'c'), 'base64url');
  t.throws(() => vault.open(token.subarray(4), vault.keyId, 'c'), VaultError);
  const { ciphertext } = vault.seal(Buffer.from('x'), 'c');
  const forged = Buffer.concat([Buffer.from(vault.keyId, 'hex'), ciphertext]).toString('base64url');
  t.equal(vault.openToken(forged, 'c'), undefined);
});

t.test('unusable keys are refused with how to make one, and are not repeated', async (t) => {
  for (const bad of ['', 'short-and-secret', 'g'.repeat(64), `${NEW.toString('hex')},nope`]) {
    t.throws(() => createVault(bad), { name: 'VaultError', message: /openssl rand -hex 32/ });
    try {
      createVault(bad);
    } catch (error) {
      if (bad !== '') t.notOk((error as Error).message.includes(bad.split(',').at(-1) ?? bad));
    }
  }
});
