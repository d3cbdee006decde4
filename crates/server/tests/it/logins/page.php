<?php
// A site of one page: logs in, counts visits, and says where PHP is told to keep that.
declare(strict_types=1);

/** Sessions in a table, as applications with a handler of their own have it. */
final class Table implements SessionHandlerInterface
{
    private PDO $rows;

    public function __construct(string $schema, private string $table)
    {
        // The server of this machine, as `localhost` is understood here.
        $this->rows = new PDO("mysql:host=localhost;dbname=$schema", 'root', '');
    }

    public function open(string $path, string $name): bool
    {
        return true;
    }

    public function close(): bool
    {
        return $this->rows->prepare('DO RELEASE_ALL_LOCKS()')->execute();
    }

    public function read(string $id): string|false
    {
        // One at a time, as with PHP's files: two visits at once would count as one.
        $this->rows->prepare('DO GET_LOCK(?, 10)')->execute([$id]);
        $found = $this->rows->prepare("SELECT data FROM $this->table WHERE session_id = ?");
        $found->execute([$id]);
        return (string) $found->fetchColumn();
    }

    public function write(string $id, string $data): bool
    {
        $kept = $this->rows->prepare("REPLACE INTO $this->table (session_id, data) VALUES (?, ?)");
        return $kept->execute([$id, $data]);
    }

    public function destroy(string $id): bool
    {
        return $this->rows->prepare("DELETE FROM $this->table WHERE session_id = ?")->execute([$id]);
    }

    public function gc(int $age): int|false
    {
        return 0;
    }
}

header('Content-Type: text/plain');
// Whole, and not in chunks.
ob_start(static function (string $text): string {
    header('Content-Length: ' . strlen($text));
    return $text;
});
$path = parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH);
if ($path === '/where') {
    echo ini_get('session.save_handler'), ' ', ini_get('session.save_path');
    exit;
}
if (is_file(__DIR__ . '/configuration.php')) {
    require __DIR__ . '/configuration.php';
    $config = new JConfig();
    if ($config->session_handler === 'database') {
        session_set_save_handler(new Table($config->db, $config->dbprefix . 'session'), true);
    }
}
session_start();
if ($path === '/login' && $_SERVER['REQUEST_METHOD'] === 'POST') {
    $_SESSION = ['name' => $_POST['name'], 'visits' => 0];
    exit;
}
if (!isset($_SESSION['name'])) {
    echo 'please log in';
    exit;
}
$_SESSION['visits']++;
echo "account of {$_SESSION['name']}, visit {$_SESSION['visits']}";
