import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.lang.reflect.Field;
import java.util.ArrayList;
import java.util.List;
import java.util.zip.CRC32;
import org.zeromq.ZMQ;

/** A peer on JeroMQ: `java Peer VERSION`, with the jar in the class path. The protocol is in matrix.py. */
public class Peer {
    private static ZMQ.Context context;
    private static ZMQ.Socket socket;

    private static byte[] part(String spec) {
        if (spec.startsWith("="))
            return spec.substring(1).getBytes();
        byte[] data = new byte[Integer.parseInt(spec)];
        for (int i = 0; i < data.length; i++)
            data[i] = (byte) (i % 251);
        return data;
    }

    private static List<byte[]> message(String spec) {
        List<byte[]> parts = new ArrayList<>();
        for (String each : spec.split(",")) {
            String[] words = each.startsWith("=") ? new String[] {each} : each.split("x");
            for (int left = words.length > 1 ? Integer.parseInt(words[1]) : 1; left > 0; left--)
                parts.add(part(words[0]));
        }
        return parts;
    }

    private static void sendAll(List<byte[]> parts) {
        for (int i = 0; i < parts.size(); i++)
            if (!socket.send(parts.get(i), i < parts.size() - 1 ? ZMQ.SNDMORE : 0))
                throw new IllegalStateException("timed out while sending");
    }

    private static List<byte[]> receiveAll() {
        List<byte[]> parts = new ArrayList<>();
        do {
            byte[] data = socket.recv(0);
            if (data == null)
                return null;
            parts.add(data);
        } while (socket.hasReceiveMore());
        return parts;
    }

    private static String open(String kind, String how, String url) throws Exception {
        Field type = ZMQ.class.getField(kind);
        socket = context.socket(type.getInt(null));
        socket.setLinger(0);
        socket.setSendTimeOut(5000);
        if (how.equals("connect"))
            socket.connect(url);
        else if (url.endsWith(":*"))
            url = url.replace("*", "" + socket.bindToRandomPort(url.substring(0, url.length() - 2)));
        else
            socket.bind(url);
        return "ok " + url;
    }

    private static String receive(int count, int milliseconds) {
        socket.setReceiveTimeOut(milliseconds);
        int number = 0, total = 0;
        long size = 0;
        CRC32 crc = new CRC32();
        for (List<byte[]> parts; number < count && (parts = receiveAll()) != null; number++) {
            for (int i = 0; i < parts.size(); i++) {
                byte[] data = parts.get(i);
                crc.update((data.length + (i == parts.size() - 1 ? "." : "+")).getBytes());
                crc.update(data);
                size += data.length;
            }
            total += parts.size();
        }
        return "got " + number + " " + total + " " + size + " " + crc.getValue();
    }

    private static String run(String[] words) throws Exception {
        switch (words[0]) {
        case "open":
            return open(words[1], words[2], words[3]);
        case "subscribe":
            if (socket.getType() == ZMQ.XSUB)
                socket.send(("\u0001" + words[1]).getBytes(), 0);
            else
                socket.subscribe(words[1].getBytes());
            return "ok";
        case "send":
            for (String spec : words[1].split("/"))
                sendAll(message(spec));
            return "ok";
        case "recv":
            return receive(Integer.parseInt(words[1]), Integer.parseInt(words[2]));
        case "echo":
            socket.setReceiveTimeOut(Integer.parseInt(words[2]));
            for (int left = Integer.parseInt(words[1]); left > 0; left--) {
                List<byte[]> parts = receiveAll();
                if (parts == null)
                    throw new IllegalStateException("timed out while receiving");
                sendAll(parts);
            }
            return "ok";
        default:
            socket.close();
            return "ok";
        }
    }

    public static void main(String[] arguments) throws Exception {
        context = ZMQ.context(1);
        System.out.println("hello JeroMQ " + arguments[0] + " knows tcp");
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in));
        for (String line; (line = lines.readLine()) != null;) {
            String answer;
            try {
                answer = run(line.split(" "));
            } catch (Throwable error) {
                answer = "error " + error.toString().replace('\n', ' ');
            }
            System.out.println(answer);
        }
        context.term();
    }
}
