import java.io.FileOutputStream;
import java.io.RandomAccessFile;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;

/** Files1 OPERATION FILE [FILE]: java.io and java.nio. */
public class Files1 {
    static void work(String op, Path file, Path other) throws Exception {
        switch (op) {
            case "rename": Files.move(file, other); return;
            case "unlink": Files.delete(file); return;
            case "mkdir": Files.createDirectory(file); return;
            case "stat": Files.size(file); return;
            case "read": Files.readAllBytes(file); return;
            case "readdir":
                try (var entries = Files.newDirectoryStream(file)) {
                    for (Path entry : entries)
                        entry.getFileName();
                }
                return;
            case "command": {
                ProcessBuilder builder = new ProcessBuilder("bash", "-c", file.toString()).inheritIO();
                builder.environment().clear();
                System.exit(builder.start().waitFor());
                return;
            }
            case "truncate":
                try (FileChannel channel = FileChannel.open(file, StandardOpenOption.WRITE)) {
                    channel.truncate(1);
                }
                return;
            case "lock":
                try (FileChannel channel = FileChannel.open(file, StandardOpenOption.WRITE)) {
                    channel.lock();
                }
                return;
            case "stream":
                try (FileOutputStream stream = new FileOutputStream(file.toFile())) {
                    stream.write("hello\n".getBytes());
                }
                return;
            default:
                try (FileChannel channel = FileChannel.open(file, StandardOpenOption.WRITE)) {
                    channel.write(ByteBuffer.wrap("hello\n".getBytes()));
                    if (op.equals("fsync"))
                        channel.force(true);
                }
        }
    }

    public static void main(String[] args) {
        try {
            work(args[0], Path.of(args[1]), Path.of(args.length > 2 ? args[2] : ""));
        } catch (Exception error) {
            System.out.println(error);
            System.exit(1);
        }
    }
}
