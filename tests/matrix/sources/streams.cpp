// streams OPERATION FILE [FILE]: iostreams and std::filesystem.
#include <filesystem>
#include <fstream>
#include <iostream>
#include <string>
namespace fs = std::filesystem;

static int failed(const std::string &what)
{
    std::cout << what << " failed\n";
    return 1;
}

static int work(const std::string &op, const std::string &file, const std::string &other)
{
    if (op == "rename") {
        fs::rename(file, other);
        return 0;
    }
    if (op == "unlink") {
        fs::remove(file);
        return 0;
    }
    if (op == "mkdir") {
        fs::create_directory(file);
        return 0;
    }
    if (op == "stat") {
        std::cout << fs::file_size(file) << " bytes\n";
        return 0;
    }
    if (op == "truncate") {
        fs::resize_file(file, 1);
        return 0;
    }
    if (op == "readdir") {
        for (const auto &entry : fs::directory_iterator(file))
            std::cout << entry.path().filename() << "\n";
        return 0;
    }
    if (op == "read") {
        std::ifstream in(file);
        if (!in)
            return failed("open");
        std::string line;
        return std::getline(in, line) ? 0 : failed(op);
    }
    std::ofstream out(file);
    if (!out)
        return failed("open");
    if (op == "write" && !(out << "hello\n" << std::flush))
        return failed(op);
    out.close();
    return out ? 0 : failed("close");
}

int main(int argc, char **argv)
{
    try {
        return work(argv[1], argv[2], argc > 3 ? argv[3] : "");
    } catch (const std::exception &error) {
        std::cout << error.what() << "\n";
        return 1;
    }
}
