/**
 * Python's regular expressions, as configs of peft hold them, and as names of layers are chosen by. They come from strangers, so matching
 * takes bounded time for all.
 */

/** A pattern that Python would refuse, or that asks for more than is matched here. */
export class RegexError extends Error {
  override name = 'RegexError';
}

/** The ends of all matches that begin at one of `starts`. */
type Matcher = (text: string, starts: readonly number[], budget: Budget) => readonly number[];
type CharTest = (char: string) => boolean;

/** A part of a pattern that takes one character. */
class One {
  constructor(readonly test: CharTest) {}
}

/** How many characters may be looked at: what many patterns share, so that none of them can take forever. */
export interface Budget {
  steps: number;
}

const parsing = 100; // steps that reading a character of a pattern is worth
const round = 8; // and keeping account of a position that was reached
const maxLength = 2000;
const maxNesting = 32;

/**
 * Whether `re.match` of Python finds something at the beginning of a text. All of `re` but what cannot be matched without trying every way:
 * references back, conditions, atomic groups and possessive quantifiers. Classes (`\w`) know the letters of ASCII, as in names of modules.
 *
 * A part of a pattern maps the set of positions where it may begin to the set of those where it can end, so that the number of ways between
 * does not matter. (Lazy and greedy are therefore the same.)
 * @returns a test, which throws RegexError when the budget is used up; it can be told to begin at other positions than 0, at any of them.
 * @throws RegexError for a pattern that is broken or that is not matched here.
 */
export function compileRegex(pattern: string, budget: Budget): (text: string, starts?: readonly number[]) => boolean {
  spend(budget, pattern.length * parsing);
  const match = new Parser(pattern).parse();
  return (text, starts = [0]) => match(text, starts, budget).length > 0;
}

const ascii: Record<string, CharTest> = {
  d: char => /[0-9]/.test(char),
  w: char => /[0-9A-Za-z_]/.test(char),
  s: char => /[ \t\n\r\f\v]/.test(char),
};
const controls: Record<string, string> = { a: '\x07', f: '\f', n: '\n', r: '\r', t: '\t', v: '\v' };

interface Flags {
  readonly ignoreCase: boolean;
  readonly dotAll: boolean;
  readonly multiline: boolean;
}

class Parser {
  private at = 0;
  private depth = 0;

  constructor(private readonly pattern: string) {
    if (pattern.length > maxLength) throw new RegexError(`has ${pattern.length} characters, takes up to ${maxLength}`);
  }

  parse(): Matcher {
    const match = this.alternatives({ ignoreCase: false, dotAll: false, multiline: false });
    if (this.at < this.pattern.length) throw this.error('unbalanced )');
    return match;
  }

  /** Up to the end, or the `)` of the group. */
  private alternatives(flags: Flags): Matcher {
    if (++this.depth > maxNesting) throw this.error(`groups nested over ${maxNesting} deep`);
    const branches = [this.sequence(flags)];
    while (this.take('|')) branches.push(this.sequence(flags));
    this.depth--;
    return branches.length === 1 ? branches[0] : (text, starts, budget) => union(branches.map(branch => branch(text, starts, budget)));
  }

  private sequence(flags: Flags): Matcher {
    const parts: Matcher[] = [];
    let run: CharTest[] = [];
    while (this.at < this.pattern.length && !'|)'.includes(this.pattern[this.at])) {
      const part = this.quantified(flags);
      if (part instanceof One) {
        if (run.push(part.test) === 1) parts.push(chars(run));
      } else if (part) {
        parts.push(part);
        run = [];
      }
    }
    return (text, starts, budget) => {
      spend(budget, starts.length);
      let positions = starts;
      for (const part of parts) {
        if (positions.length === 0) break;
        positions = part(text, positions, budget);
      }
      return positions;
    };
  }

  private quantified(flags: Flags): One | Matcher | undefined {
    if (this.quantifier()) throw this.error('nothing to repeat');
    const begin = this.at;
    const part = this.atom(flags);
    const range = this.quantifier();
    if (!range) return part;
    if (!part || '^$'.includes(this.pattern[begin])) throw this.error('nothing to repeat');
    if (this.take('+')) throw this.error('a possessive quantifier is not matched here');
    this.take('?');
    if (this.quantifier()) throw this.error('multiple repeat');
    return repeat(part instanceof One ? chars([part.test]) : part, ...range);
  }

  /** `*`, `+`, `?`, `{2}`, `{2,}`, `{,3}`, `{2,3}`; any other brace is one. */
  private quantifier(): [min: number, max: number] | undefined {
    const ahead = this.pattern.slice(this.at, this.at + 24);
    const [whole, sign, low = '', comma, high = ''] = /^(?:([*+?])|\{(?!\})(\d*)(?:(,)(\d*))?\})/.exec(ahead) ?? [];
    if (whole === undefined || (!sign && !low && !comma)) return undefined;
    this.at += whole.length;
    if (sign) return [sign === '+' ? 1 : 0, sign === '?' ? 1 : Infinity];
    const [min, max] = [Number(low), comma ? high === '' ? Infinity : Number(high) : Number(low)];
    if (max < min) throw this.error('min repeat greater than max repeat');
    return [min, max];
  }

  private atom(flags: Flags): One | Matcher | undefined {
    const char = this.pattern[this.at++];
    switch (char) {
      case '(': return this.group(flags);
      case '[': return new One(this.charClass(flags));
      case '.': return new One(each => flags.dotAll || each !== '\n');
      case '^': return where((text, at) => at === 0 || (flags.multiline && text[at - 1] === '\n'));
      case '$': return where((text, at) => at === text.length || (text[at] === '\n' && (flags.multiline || at === text.length - 1)));
      case '\\': return this.escape(flags);
      default: return new One(literal(char, flags));
    }
  }

  private group(flags: Flags): Matcher | undefined {
    if (!this.take('?')) return this.closed(flags);
    if (this.take('#')) return void this.through(')');
    if (this.take(':')) return this.closed(flags);
    if (this.take('P<')) {
      if (!/^[A-Za-z_]\w*$/.test(this.through('>'))) throw this.error('bad name of a group');
      return this.closed(flags);
    }
    const look = /^<?[=!]/.exec(this.pattern.slice(this.at, this.at + 2))?.[0];
    if (look) {
      this.at += look.length;
      const match = this.closed(flags);
      const wanted = look.endsWith('=');
      if (look[0] !== '<') return where((text, at, budget) => match(text, [at], budget).length > 0 === wanted);
      return where((text, at, budget) => {
        spend(budget, round * at);
        return match(text, Array.from({ length: at + 1 }, (_, i) => i), budget).includes(at) === wanted;
      });
    }
    const [whole, on = '', off = ''] = /^([aimsu]*)(?:-([ims]+))?:/.exec(this.pattern.slice(this.at, this.at + 12)) ?? [];
    if (whole === undefined) throw this.error('a group of a kind that is not matched here');
    this.at += whole.length;
    const flag = (letter: string, before: boolean) => !off.includes(letter) && (on.includes(letter) || before);
    return this.closed({ ignoreCase: flag('i', flags.ignoreCase), dotAll: flag('s', flags.dotAll), multiline: flag('m', flags.multiline) });
  }

  private closed(flags: Flags): Matcher {
    const match = this.alternatives(flags);
    if (!this.take(')')) throw this.error('missing )');
    return match;
  }

  private escape(flags: Flags): One | Matcher {
    const letter = this.pattern[this.at];
    switch (letter) {
      case 'A': this.at++; return where((_, at) => at === 0);
      case 'z': case 'Z': this.at++; return where((text, at) => at === text.length);
      case 'b': case 'B': {
        this.at++;
        const isWord = (char: string | undefined) => char !== undefined && ascii.w(char);
        return where((text, at) => (isWord(text[at - 1]) !== isWord(text[at])) === (letter === 'b'));
      }
    }
    if (/^(?!0|[0-7]{3})\d/.test(this.pattern.slice(this.at, this.at + 3))) throw this.error('a reference to a group is not matched here');
    const escaped = this.escapedChar();
    return new One(typeof escaped === 'string' ? literal(escaped, flags) : escaped);
  }

  /** What follows a backslash, inside of a class or not: a character, or a test for several. */
  private escapedChar(): string | CharTest {
    const letter = this.pattern[this.at++];
    if (letter === undefined) throw this.error('bad escape (end of pattern)');
    const test = ascii[letter.toLowerCase()];
    if (test && /[dwsDWS]/.test(letter)) return letter === letter.toLowerCase() ? test : char => !test(char);
    if (letter in controls) return controls[letter];
    const digits = { x: 2, u: 4, U: 8 }[letter];
    if (digits) return this.code(new RegExp(`^[0-9A-Fa-f]{${digits}}`), 16);
    if (/[0-7]/.test(letter)) {
      this.at--;
      return this.code(/^[0-7]{1,3}/, 8);
    }
    if (/[A-Za-z0-9]/.test(letter)) throw this.error(`bad escape \\${letter}`);
    return letter;
  }

  private code(digits: RegExp, radix: number): string {
    const found = digits.exec(this.pattern.slice(this.at, this.at + 8))?.[0];
    const code = found === undefined ? NaN : parseInt(found, radix);
    if (!(code <= 0x10ffff)) throw this.error('incomplete escape');
    this.at += found!.length;
    return String.fromCodePoint(code);
  }

  private charClass(flags: Flags): CharTest {
    const negated = this.take('^');
    const tests: CharTest[] = [];
    for (let first = true; first || this.pattern[this.at] !== ']'; first = false) {
      const from = this.classMember();
      if (this.pattern[this.at] !== '-' || this.pattern[this.at + 1] === ']') {
        tests.push(typeof from === 'string' ? literal(from, flags) : from);
        continue;
      }
      this.at++;
      const to = this.classMember();
      if (typeof from !== 'string' || typeof to !== 'string' || from > to) throw this.error('bad character range');
      tests.push(anyCase(char => from <= char && char <= to, flags));
    }
    this.at++;
    return char => tests.some(test => test(char)) !== negated;
  }

  private classMember(): string | CharTest {
    if (this.at >= this.pattern.length) throw this.error('unterminated character set');
    if (!this.take('\\')) return this.pattern[this.at++];
    return this.take('b') ? '\b' : this.escapedChar();
  }

  private take(expected: string): boolean {
    const found = this.pattern.startsWith(expected, this.at);
    if (found) this.at += expected.length;
    return found;
  }

  private through(end: string): string {
    const begin = this.at;
    const found = this.pattern.indexOf(end, begin);
    if (found < 0) throw this.error(`missing ${end}`);
    this.at = found + 1;
    return this.pattern.slice(begin, found);
  }

  private error(problem: string): RegexError {
    return new RegexError(`${problem}, at position ${this.at}`);
  }
}

function anyCase(test: CharTest, { ignoreCase }: Flags): CharTest {
  return ignoreCase ? char => test(char.toLowerCase()) || test(char.toUpperCase()) : test;
}

function literal(wanted: string, flags: Flags): CharTest {
  return anyCase(char => char === wanted, flags);
}

/** Takes one character for each test. */
function chars(tests: readonly CharTest[]): Matcher {
  return (text, starts, budget) => {
    const ends: number[] = [];
    for (const start of starts) {
      let at = start;
      while (at - start < tests.length && at < text.length && tests[at - start](text[at])) at++;
      spend(budget, at - start);
      if (at - start === tests.length) ends.push(at);
    }
    return ends;
  };
}

/** Takes none. */
function where(test: (text: string, at: number, budget: Budget) => boolean): Matcher {
  return (text, starts, budget) => {
    spend(budget, starts.length);
    return starts.filter(at => test(text, at, budget));
  };
}

/** After more rounds than there are characters nothing new is reached, so that neither bound costs more than those. */
function repeat(part: Matcher, min: number, max: number): Matcher {
  return (text, starts, budget) => {
    let newest = starts;
    for (let i = 0; i < Math.min(min, text.length + 1) && newest.length; i++) newest = part(text, newest, budget);
    const reached = new Set(newest);
    for (let i = min; i < max && newest.length; i++) {
      spend(budget, round * newest.length);
      newest = part(text, newest, budget).filter(at => !reached.has(at));
      newest.forEach(at => reached.add(at));
    }
    return [...reached];
  };
}

function union(sets: ReadonlyArray<readonly number[]>): number[] {
  return [...new Set(sets.flat())];
}

function spend(budget: Budget, steps: number): void {
  budget.steps -= steps + 1;
  if (budget.steps < 0) throw new RegexError('takes too long to match');
}
