import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path/posix';
import ts from 'typescript';

/** Which files each file imports, by their paths: types too, and those that are imported only when they are needed. */
export type Imports = ReadonlyMap<string, ReadonlySet<string>>;

/** Of the TypeScript files below `folders`, which are relative to `root`. */
export function readImports(root: string, folders: readonly string[]): Imports {
  const paths = folders.flatMap(folder => readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter(file => file.endsWith('.ts')).map(file => join(folder, file.replaceAll('\\', '/'))));
  return importsOf(new Map(paths.map(path => [path, readFileSync(join(root, path), 'utf8')])));
}

/** Of source texts by their paths. */
export function importsOf(sources: ReadonlyMap<string, string>): Imports {
  return new Map([...sources].map(([path, text]) => {
    const names = moduleNames(ts.createSourceFile(path, text, ts.ScriptTarget.Latest, true));
    const inside = names.filter(name => name.startsWith('.')).map(name => normalize(join(dirname(path), name)).replace(/\.js$/, '.ts'));
    return [path, new Set(inside)];
  }));
}

/** What is imported: `import`, `export ... from`, `import(...)`, and `import('...').Type`. */
function moduleNames(file: ts.SourceFile): string[] {
  const names: string[] = [];
  const visit = (node: ts.Node): void => {
    const name = (ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) ? node.moduleSpecifier
      : ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword ? node.arguments[0]
        : ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument) ? node.argument.literal : undefined;
    if (name && ts.isStringLiteralLike(name)) names.push(name.text);
    ts.forEachChild(node, visit);
  };
  visit(file);
  return names;
}

/** The circles, each as the files along one way around it. */
export function findCircles(imports: Imports): string[][] {
  const circles: string[][] = [];
  const done = new Set<string>();
  const walk = (path: string, way: readonly string[]): void => {
    if (way.includes(path)) circles.push([...way.slice(way.indexOf(path)), path]);
    if (way.includes(path) || done.has(path)) return;
    for (const next of imports.get(path) ?? []) walk(next, [...way, path]);
    done.add(path);
  };
  for (const path of imports.keys()) walk(path, []);
  return circles;
}

/**
 * The imports that do not lead down, as `a -> b`: from a room to one of a higher floor, or to another of the same.
 * @param floors from the top; the rooms of each are folders or files. The narrowest room that a path lies in is its own.
 */
export function findClimbing(imports: Imports, floors: readonly (readonly string[])[]): string[] {
  const rooms = floors.flatMap((floor, depth) => floor.map(room => ({ room, depth }))).sort((a, b) => b.room.length - a.room.length);
  const roomOf = (path: string) => {
    const found = rooms.find(({ room }) => path === room || path.startsWith(`${room}/`));
    if (!found) throw new Error(`${path}: is on no floor`);
    return found;
  };
  return [...imports].flatMap(([from, all]) => [...all].filter(to => {
    const [above, below] = [roomOf(from), roomOf(to)];
    return above.room !== below.room && above.depth >= below.depth;
  }).map(to => `${from} -> ${to}`));
}
